package duty

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// The messages of etcd's JSON gateway, as far as they are used. Keys and values are
// base64, which encoding/json makes of bytes.

// number is an integer of 64 bits: a string on the wire, since JavaScript's numbers
// are less precise.
type number int64

func (n *number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseInt(string(bytes.Trim(b, `"`)), 10, 64)
	if err != nil {
		return fmt.Errorf("%.40q is no integer", b)
	}
	*n = number(v)
	return nil
}

func (n number) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatInt(int64(n), 10)), nil
}

type header struct {
	Cluster json.RawMessage `json:"cluster_id"` // compared alone
}

type keyValue struct {
	Key     []byte `json:"key"`
	Value   []byte `json:"value"`
	Created number `json:"create_revision"`
	Changed number `json:"mod_revision"`
	Lease   number `json:"lease"`
}

type rangeRequest struct {
	Key    []byte `json:"key"`
	End    []byte `json:"range_end,omitempty"`
	Limit  number `json:"limit,omitempty"`
	Order  string `json:"sort_order,omitempty"`
	Target string `json:"sort_target,omitempty"`
}

type rangeAnswer struct {
	Header header     `json:"header"`
	KVs    []keyValue `json:"kvs"`
}

type putRequest struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
	Lease number `json:"lease"`
}

type putOperation struct {
	Put putRequest `json:"request_put"`
}

type comparison struct {
	Target  string `json:"target"`
	Key     []byte `json:"key"`
	Created number `json:"create_revision"`
}

type txnRequest struct {
	Compare []comparison   `json:"compare"`
	Success []putOperation `json:"success"`
}

type grantRequest struct {
	TTL number `json:"TTL"`
}

type leaseRequest struct {
	ID number `json:"ID"`
}

type leaseAnswer struct {
	Header header `json:"header"`
	ID     number `json:"ID"`
	TTL    number `json:"TTL"`
}

// renewAnswer is the first message of a stream.
type renewAnswer struct {
	Result leaseAnswer `json:"result"`
}

type userRequest struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

type userAnswer struct {
	Token string `json:"token"`
}

type watchRequest struct {
	Create rangeRequest `json:"create_request"`
}

type watchAnswer struct {
	Result struct {
		Canceled bool `json:"canceled"`
	} `json:"result"`
	Error json.RawMessage `json:"error"`
}

type errorAnswer struct {
	Message string `json:"message"`
	Code    int    `json:"code"`
}

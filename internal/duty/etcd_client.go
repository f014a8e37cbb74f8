package duty

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	maxAnswer = 1 << 20 // of one answer, in bytes: a thousand members have less
	maxEvent  = 1 << 16 // of one line of a watch

	// A connection that is not made in this time is given up. Package http goes on
	// dialling after the request has ended, and a TLS handshake with an etcd that is
	// stopped would never end.
	connectIn = 5 * time.Second
)

// etcdClient asks etcd by its JSON gateway. One goroutine calls it; watch runs in
// another one.
type etcdClient struct {
	endpoints []string
	current   int           // the endpoint that answered last
	wait      time.Duration // for one answer of one endpoint
	http      http.Client
	prefix    string // of the group's keys, for what is said about rights

	user        string
	password    func() (string, error)
	certificate *x509.Certificate // of this client; nil: none, or unknown

	token    string
	userless bool // etcd knows no users, although one is named

	cluster string // the id of the cluster whose answers count; empty before the first
}

// dialer makes the connections; nil: net.Dialer.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func newEtcdClient(s EtcdSettings, prefix string, dial dialer) *etcdClient {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	var certificate *x509.Certificate
	if s.TLS != nil && len(s.TLS.Certificates) > 0 {
		certificate = s.TLS.Certificates[0].Leaf
	}
	return &etcdClient{
		certificate: certificate, endpoints: s.Endpoints,
		// An etcd that is stopped accepts connections and says nothing.
		wait: min(s.TTL/5, 2500*time.Millisecond),
		http: http.Client{
			// No proxy: etcd is near this host. No redirects: they would reveal the
			// password or token to another host.
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					inTime, cancel := context.WithTimeout(ctx, connectIn)
					defer cancel()
					return dial(inTime, network, address)
				},
				TLSHandshakeTimeout:    connectIn,
				TLSClientConfig:        s.TLS,
				DisableCompression:     true,
				MaxIdleConnsPerHost:    2,
				IdleConnTimeout:        time.Minute,
				MaxResponseHeaderBytes: 1 << 16,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		prefix: prefix, user: s.User, password: s.Password,
	}
}

// call asks the endpoints, the one that answered last first, until one answers.
// An error is an *engineError.
func (c *etcdClient) call(ctx context.Context, path string, question, answer any) error {
	err := c.sweep(ctx, path, question, answer)
	if noUser.is(err) && c.user != "" {
		c.token, c.userless = "", false
	} else if !staleToken.is(err) {
		return err
	}
	c.token = ""
	return c.sweep(ctx, path, question, answer)
}

// sweep asks each endpoint once, until one answers. If none does, the error is of the
// kind of the first, with the reasons of all: the one that is alive may not be to blame.
func (c *etcdClient) sweep(ctx context.Context, path string, question, answer any) error {
	var failed []error
	for range c.endpoints {
		err := c.logIn(ctx)
		if err == nil {
			err = c.ask(ctx, path, question, answer)
		}
		if err == nil || ctx.Err() == nil && !ofEndpoint(err) {
			return err
		}
		if ctx.Err() != nil {
			if failed == nil {
				return err
			}
			break
		}
		failed = append(failed, err)
		c.current = (c.current + 1) % len(c.endpoints)
	}
	return joined(failed)
}

// logIn gets a token, if there is a user and none yet.
func (c *etcdClient) logIn(ctx context.Context) error {
	if c.user == "" || c.token != "" || c.userless {
		return nil
	}
	password, err := c.password()
	if err != nil {
		return &engineError{refused, err.Error()}
	}
	var a userAnswer
	err = c.ask(ctx, "/v3/auth/authenticate", userRequest{c.user, password}, &a)
	if noAuth.is(err) {
		c.userless = true
		return nil
	}
	c.token = a.Token
	return err
}

// ask asks the current endpoint once.
func (c *etcdClient) ask(ctx context.Context, path string, question, answer any) error {
	endpoint := c.endpoints[c.current]
	limited, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	r, err := c.post(limited, endpoint+path, c.token, question)
	if err != nil {
		return c.unanswered(endpoint, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	switch {
	case r.StatusCode != http.StatusOK && len(body) <= maxAnswer:
		return c.complain(endpoint, r, body)
	case err != nil:
		return c.unanswered(endpoint, err)
	case len(body) > maxAnswer:
		return &engineError{unreachable, fmt.Sprintf("%s: an answer of more than %d bytes: it is not etcd, or the group has keys of others", endpoint, maxAnswer)}
	}
	if err := c.sameCluster(endpoint, r, body); err != nil {
		return err
	}
	if json.Unmarshal(body, answer) != nil {
		return c.notEtcd(endpoint, r, body)
	}
	return nil
}

// post sends a request. The caller closes the body of the response. The token is an
// argument, since a watch sends requests while another goroutine may change c.token.
func (c *etcdClient) post(ctx context.Context, url, token string, question any) (*http.Response, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "crisp-status-local")
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	return c.http.Do(r)
}

// sameCluster returns an error if an answer is another cluster's: two clusters
// would put two daemons on duty.
func (c *etcdClient) sameCluster(endpoint string, answer *http.Response, body []byte) error {
	var a struct {
		Header header `json:"header"`
		Result struct {
			Header header `json:"header"`
		} `json:"result"`
	}
	if json.Unmarshal(body, &a) != nil {
		return c.notEtcd(endpoint, answer, body)
	}
	id := strings.Trim(cmp.Or(string(a.Header.Cluster), string(a.Result.Header.Cluster)), `"`)
	switch {
	case id == "":
		return &engineError{misnamed, endpoint + " answers without the id of a cluster: endpoints in [cluster] are client URLs of etcd 3.4 or newer"}
	case c.cluster == "":
		c.cluster = id
	case c.cluster != id:
		return &engineError{misnamed, fmt.Sprintf("%s is of cluster %.20s, the others are of %.20s: endpoints in [cluster] are of one cluster", endpoint, id, c.cluster)}
	}
	return nil
}

// otherCluster switches to a cluster that has replaced the old one, if all endpoints
// answer with the same id: a single wrong endpoint is never followed. It reports
// whether it did.
func (c *etcdClient) otherCluster(ctx context.Context) bool {
	old, at := c.cluster, c.current
	c.cluster = ""
	for i := range c.endpoints {
		c.current = i
		if c.logIn(ctx) != nil || c.ask(ctx, "/v3/kv/range", rangeRequest{Key: []byte(c.prefix)}, new(rangeAnswer)) != nil {
			c.cluster, c.current = old, at
			return false
		}
	}
	return c.cluster != old
}

// watch calls changed when it is established and after each change of a key
// between key and end, until ctx is done, the connection ends, or etcd ends it.
func (c *etcdClient) watch(ctx context.Context, endpoint, token string, key, end []byte, changed func()) {
	r, err := c.post(ctx, endpoint+"/v3/watch", token, watchRequest{rangeRequest{Key: key, End: end}})
	if err != nil {
		return
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, maxEvent)
	for r.StatusCode == http.StatusOK && lines.Scan() {
		var a watchAnswer
		if json.Unmarshal(lines.Bytes(), &a) != nil || a.Result.Canceled || a.Error != nil {
			return
		}
		changed()
	}
}

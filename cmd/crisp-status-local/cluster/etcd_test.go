//go:build cluster

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// etcd is a cluster of etcd, a member on each host.
type etcd struct {
	t       *testing.T
	members []*process
	client  http.Client
	current atomic.Int64 // the member that answered last
}

// newEtcd starts a member on each host. Its elections take a little longer than by
// default, for a machine with much else to do.
func newEtcd(t *testing.T, hosts []*host) *etcd {
	t.Helper()
	e := &etcd{t: t, client: http.Client{Timeout: 500 * time.Millisecond}}
	var cluster []string
	for _, h := range hosts {
		cluster = append(cluster, h.name+"=http://"+h.address+":2380")
	}
	dir := t.TempDir()
	for _, h := range hosts {
		client, peer := "http://"+h.address+":2379", "http://"+h.address+":2380"
		p := &process{t: t, host: h, log: filepath.Join(dir, h.name+".log"), args: []string{
			"etcd", "--name=" + h.name, "--data-dir=" + filepath.Join(dir, h.name), "--logger=zap", "--log-level=error",
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client, "--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=" + strings.Join(cluster, ","), "--heartbeat-interval=200", "--election-timeout=2000",
		}}
		p.start()
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("etcd on %s wrote:\n%s", h.name, p.tail())
			}
			p.kill()
		})
		e.members = append(e.members, p)
	}
	return e
}

// endpoints returns the URLs of the members.
func (e *etcd) endpoints() []string {
	var urls []string
	for _, m := range e.members {
		urls = append(urls, "http://"+m.host.address+":2379")
	}
	return urls
}

// keyValue is a key of etcd's JSON gateway. Keys and values are base64, which
// encoding/json makes of bytes.
type keyValue struct {
	Key     []byte `json:"key"`
	Value   []byte `json:"value"`
	Created string `json:"create_revision,omitempty"`
	Lease   string `json:"lease,omitempty"`
}

// ask asks the members in turn, the one that answered last first, until one answers.
func (e *etcd) ask(path string, question, answer any) error {
	var failed error
	endpoints := e.endpoints()
	for range endpoints {
		err := e.askAt(endpoints[int(e.current.Load())%len(endpoints)], path, question, answer)
		if err == nil {
			return nil
		}
		e.current.Add(1)
		failed = errors.Join(failed, err)
	}
	return failed
}

func (e *etcd) askAt(endpoint, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, endpoint+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r, err := e.client.Do(request)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	said, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d: %s", path, r.StatusCode, said)
	}
	return json.Unmarshal(said, answer)
}

// below returns the keys below a prefix, the oldest first.
func (e *etcd) below(prefix string) ([]keyValue, error) {
	end := []byte(prefix)
	end[len(end)-1]++
	var answer struct {
		KVs []keyValue `json:"kvs"`
	}
	err := e.ask("/v3/kv/range", map[string]any{"key": []byte(prefix), "range_end": end, "sort_order": "ASCEND", "sort_target": "CREATE"}, &answer)
	return answer.KVs, err
}

// leader returns the member that leads etcd.
func (e *etcd) leader() *process {
	e.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for i, endpoint := range e.endpoints() {
			var status struct {
				Header struct {
					Member string `json:"member_id"`
				} `json:"header"`
				Leader string `json:"leader"`
			}
			if e.askAt(endpoint, "/v3/maintenance/status", struct{}{}, &status) == nil && status.Leader != "" && status.Leader == status.Header.Member {
				return e.members[i]
			}
		}
	}
	e.t.Fatal("etcd has no leader")
	return nil
}

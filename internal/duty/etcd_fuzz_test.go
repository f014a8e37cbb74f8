package duty

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// answering is a Transport that gives one answer to every request.
type answering struct {
	status int
	kind   string
	body   []byte
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {a.kind}},
		Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: -1, Request: r,
	}, nil
}

// asking returns a client of an etcd that gives one answer to every request.
func asking(a answering) *etcdClient {
	s := EtcdSettings{Endpoints: []string{"http://etcd-a:2379", "http://etcd-b:2379"}, TTL: 15 * time.Second, User: "u", Password: func() (string, error) { return "p4ssw0rd", nil }}
	c := newEtcdClient(s, groupPrefix("g"), nil)
	c.http.Transport = a
	return c
}

// FuzzEtcdAnswer holds whatever etcd, or what stands in its place, answers to this: there is
// an answer that can be used, or an error that is one short line; and a group that was read
// can be shown.
func FuzzEtcdAnswer(f *testing.F) {
	member := `{"key":"L2NyaXNwLXN0YXR1cy1sb2NhbC92MS9nL21lbWJlcnMvYS8x","value":"eyJmb3JtYXQiOjEsIm1lbWJlciI6ImEiLCJhcGkiOnRydWUsImFwaV9hZ2UiOjFlMzAwfQ==","create_revision":"2","mod_revision":"3","lease":"1"}`
	lead := `{"key":"L2NyaXNwLXN0YXR1cy1sb2NhbC92MS9nL2VsZWN0aW9uLzE=","value":"YQ==","create_revision":"2","mod_revision":"3","lease":"1"}`
	for _, seed := range []answering{
		{200, "application/json", []byte(`{"header":{"cluster_id":"7"},"kvs":[` + member + `,` + lead + `],"count":"2"}`)},
		{200, "application/json", []byte(`{"header":{"cluster_id":7},"kvs":[` + lead + `,` + lead + `,` + member + `]}`)},
		{200, "application/json", []byte(`{"result":{"header":{"cluster_id":"7"},"ID":"9223372036854775807","TTL":"-1"}}`)},
		{200, "application/json", []byte(`{"header":{"cluster_id":[[{"\u0000":null}]]},"ID":"1e3"}`)},
		{400, "application/json", []byte(`{"message":"etcdserver: user name is empty","code":3}`)},
		{404, "application/json", []byte(`{"message":"etcdserver: requested lease not found","code":5}`)},
		{503, "text/html", []byte("<html>\r\n\x1b[2Jp4ssw0rd")},
		{200, "text/plain", nil},
	} {
		f.Add(seed.status, seed.kind, seed.body)
	}
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte) {
		if status < 100 || status > 999 {
			return
		}
		c := asking(answering{status, kind, body})
		var r rangeAnswer
		c.token = "t0k3n" // else it would have to log in first
		wantSaid(t, c.call(t.Context(), "/v3/kv/range", rangeRequest{Key: []byte(c.prefix)}, &r), body)
		wantSaid(t, c.call(t.Context(), "/v3/lease/grant", grantRequest{15}, new(leaseAnswer)), body)
		wantSaid(t, c.call(t.Context(), "/v3/lease/keepalive", leaseRequest{1}, new(renewAnswer)), body)
		wantGroup(t, readGroup(c.prefix, r.KVs, 1))
	})
}

// wantSaid checks that err is nil or says one thing shortly.
func wantSaid(t *testing.T, err error, body []byte) {
	t.Helper()
	if err == nil {
		return
	}
	e, ok := errors.AsType[*engineError](err)
	if !ok {
		t.Fatalf("got %v of type %T, want a complaint about etcd", err, err)
	}
	if len(e.text) > 1500 || strings.ContainsAny(e.text, "\n\r\x1b\x00") {
		t.Errorf("got %q, want one short line", e.text)
	}
	for _, secret := range []string{"p4ssw0rd", "t0k3n"} {
		if strings.Contains(e.text, secret) && !bytes.Contains(body, []byte(secret)) {
			t.Errorf("got the secret %s in %q", secret, e.text)
		}
	}
}

// wantGroup checks that what is known of a group fits together.
func wantGroup(t *testing.T, g group) {
	t.Helper()
	if g.holder != nil && g.lead.Key == nil || g.mine && !g.queued {
		t.Errorf("got %+v, want a holder with a key alone", g)
	}
	if shown := g.shown(); len(shown) != len(g.members) {
		t.Errorf("got %d members shown of %d", len(shown), len(g.members))
	}
	seen := make(sightings)
	for i, at := range []time.Duration{time.Hour, time.Hour + time.Second, 1 << 62} {
		seen.see(g, at, i == 0)
		for _, m := range g.members {
			seen.fresh(m, at)
		}
	}
	g.otherPage(1, "page")
	g.stray()
}

// FuzzEtcdRecord holds whatever a member writes for the others to this: it is a member, by
// its name or that of its key, and has the API lately or not.
func FuzzEtcdRecord(f *testing.F) {
	for _, seed := range []string{
		`{"format":1,"version":"2.1.0","member":"a","instance":"x","page":"p","healthy":1,"api":true,"api_age":0.5}`,
		`{"format":2,"member":"","page":7}`, `{"api":true,"api_age":-1e308}`, `null`, `[]`, ``, "\x00",
	} {
		f.Add(seed, "a/1", int64(1))
	}
	f.Add(`{}`, "", int64(0))
	f.Fuzz(func(t *testing.T, value, name string, lease int64) {
		prefix := groupPrefix("g")
		g := readGroup(prefix, []keyValue{
			{Key: []byte(prefix + "members/" + name), Value: []byte(value), Lease: number(lease), Changed: 1},
			{Key: []byte(prefix + "election/1"), Lease: number(lease)},
		}, 1)
		if want := min(1, max(lease, -lease)); lease != -1<<63 && int64(len(g.members)) != want {
			t.Errorf("got %d members, want %d", len(g.members), want)
		}
		wantGroup(t, g)
	})
}

// FuzzEtcdWatch holds whatever comes as the events of a watch to this: there are no more
// than lines, and it ends.
func FuzzEtcdWatch(f *testing.F) {
	f.Add([]byte("{\"result\":{\"created\":true}}\n{\"result\":{\"events\":[{}]}}\n"))
	f.Add([]byte("{\"result\":{\"canceled\":true}}\n{}\n"))
	f.Add([]byte("{\"error\":null}\n{\"error\":{\"code\":1}}\n"))
	f.Add([]byte("\n\n[]\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		events := 0
		c := asking(answering{200, "application/json", body})
		c.watch(t.Context(), c.endpoints[0], "", []byte("a"), []byte("b"), func() { events++ })
		if most := bytes.Count(body, []byte("\n")) + 1; events > most {
			t.Errorf("got %d events in %d lines", events, most)
		}
	})
}

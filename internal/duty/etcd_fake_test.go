package duty

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

// fakeEtcd is a cluster of etcd in memory that answers over pipes, in the faked time of
// the bubble. Leases end by its own clock, which may run fast.
type fakeEtcd struct {
	t  *testing.T
	mu sync.Mutex // protects all following fields

	cluster  string
	rate     float64 // of its clock; 0: 1
	revision int64
	next     int64 // lease
	keys     map[string]*fakeKey
	leases   map[int64]*fakeLease
	watchers map[chan string]string // the prefixes that they watch

	password string          // of user "u"; empty: authentication is not enabled
	tokens   map[string]bool // that are valid
	denied   string          // keys below it are denied
	full     bool            // no space is left
	writes   int             // puts and transactions
	calls    map[string]int  // by path
}

type fakeKey struct {
	created, changed, lease int64
	value                   []byte
}

type fakeLease struct {
	ttl int64
	end *time.Timer
}

func newFakeEtcd(t *testing.T) *fakeEtcd {
	return &fakeEtcd{t: t, cluster: "7", keys: make(map[string]*fakeKey), leases: make(map[int64]*fakeLease),
		watchers: make(map[chan string]string), tokens: make(map[string]bool), calls: make(map[string]int)}
}

// change makes a revision, and tells the watchers of a key.
func (f *fakeEtcd) change(key string) {
	f.revision++
	for w, prefix := range f.watchers {
		if strings.HasPrefix(key, prefix) {
			select {
			case w <- key:
			default:
			}
		}
	}
}

func (f *fakeEtcd) put(key string, value []byte, lease int64) {
	f.writes++
	f.change(key)
	k := f.keys[key]
	if k == nil {
		k = &fakeKey{created: f.revision}
		f.keys[key] = k
	}
	k.changed, k.value, k.lease = f.revision, value, lease
}

func (f *fakeEtcd) remove(key string) {
	if f.keys[key] != nil {
		delete(f.keys, key)
		f.change(key)
	}
}

func (f *fakeEtcd) lastFor(l *fakeLease) time.Duration {
	return time.Duration(float64(l.ttl) * float64(time.Second) / cmp.Or(f.rate, 1))
}

// revoke ends a lease. The lock is held.
func (f *fakeEtcd) revoke(id int64) bool {
	l := f.leases[id]
	if l == nil {
		return false
	}
	l.end.Stop()
	delete(f.leases, id)
	for key, k := range f.keys {
		if k.lease == id {
			f.remove(key)
		}
	}
	return true
}

// under returns the keys below a prefix, the oldest first.
func (f *fakeEtcd) under(prefix string) []string {
	var keys []string
	for key := range f.keys {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(f.keys[a].created, f.keys[b].created), strings.Compare(a, b))
	})
	return keys
}

// by changes the cluster directly, under its lock.
func (f *fakeEtcd) by(hand func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hand()
}

func (f *fakeEtcd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path == "/v3/watch" {
		f.serveWatch(w, r, body)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[r.URL.Path]++
	fail := func(status, code int, words string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":%q,"message":%q,"code":%d}`, words, words, code)
	}
	head := fmt.Sprintf(`"header":{"cluster_id":%q,"revision":"%d"}`, f.cluster, f.revision)
	if r.URL.Path == "/v3/auth/authenticate" {
		var q userRequest
		json.Unmarshal(body, &q)
		switch {
		case f.password == "":
			fail(412, failedPrecondition, "etcdserver: authentication is not enabled")
		case q.Name != "u" || q.Password != f.password:
			fail(400, invalidArgument, "etcdserver: authentication failed, invalid user ID or password")
		default:
			token := strconv.Itoa(len(f.tokens))
			f.tokens[token] = true
			fmt.Fprintf(w, `{%s,"token":%q}`, head, token)
		}
		return
	}
	if token := r.Header.Get("Authorization"); f.password != "" && !f.tokens[token] {
		if token == "" {
			fail(400, invalidArgument, "etcdserver: user name is empty")
		} else {
			fail(401, unauthenticated, "etcdserver: invalid auth token")
		}
		return
	}
	var q struct {
		ID, TTL  number
		Key      []byte       `json:"key"`
		End      []byte       `json:"range_end"`
		Value    []byte       `json:"value"`
		Lease    number       `json:"lease"`
		Compare  []comparison `json:"compare"`
		Success  []putOperation
		Anything json.RawMessage
	}
	if err := json.Unmarshal(body, &q); err != nil {
		f.t.Errorf("%s: %v", r.URL.Path, err)
	}
	puts := q.Success
	if r.URL.Path == "/v3/kv/put" {
		puts = []putOperation{{putRequest{q.Key, q.Value, q.Lease}}}
	}
	for _, p := range puts {
		if f.denied != "" && strings.HasPrefix(string(p.Put.Key), f.denied) {
			fail(403, permissionDenied, "etcdserver: permission denied")
			return
		}
		if f.full {
			fail(429, resourceExhausted, "etcdserver: mvcc: database space exceeded")
			return
		}
		if f.leases[int64(p.Put.Lease)] == nil {
			fail(404, notFound, "etcdserver: requested lease not found")
			return
		}
	}
	switch r.URL.Path {
	case "/v3/lease/grant":
		if f.full {
			fail(429, resourceExhausted, "etcdserver: mvcc: database space exceeded")
			return
		}
		f.next++
		id, l := f.next, &fakeLease{ttl: int64(q.TTL)}
		l.end = time.AfterFunc(f.lastFor(l), func() { f.by(func() { f.revoke(id) }) })
		f.leases[id] = l
		fmt.Fprintf(w, `{%s,"ID":"%d","TTL":"%d"}`, head, id, l.ttl)
	case "/v3/lease/keepalive":
		l := f.leases[int64(q.ID)]
		if l == nil {
			fmt.Fprintf(w, `{"result":{%s,"ID":"%d"}}`+"\n", head, q.ID)
			return
		}
		l.end.Reset(f.lastFor(l))
		fmt.Fprintf(w, `{"result":{%s,"ID":"%d","TTL":"%d"}}`+"\n", head, q.ID, l.ttl)
	case "/v3/lease/revoke":
		if !f.revoke(int64(q.ID)) {
			fail(404, notFound, "etcdserver: requested lease not found")
			return
		}
		fmt.Fprintf(w, `{%s}`, head)
	case "/v3/kv/range":
		if f.denied != "" && strings.HasPrefix(string(q.Key), f.denied) {
			fail(403, permissionDenied, "etcdserver: permission denied")
			return
		}
		var kvs []keyValue
		for _, key := range f.under(string(q.Key)) {
			k := f.keys[key]
			kvs = append(kvs, keyValue{[]byte(key), k.value, number(k.created), number(k.changed), number(k.lease)})
		}
		b, _ := json.Marshal(kvs)
		fmt.Fprintf(w, `{%s,"kvs":%s}`, head, b)
	case "/v3/kv/put":
		f.put(string(q.Key), q.Value, int64(q.Lease))
		fmt.Fprintf(w, `{%s}`, head)
	case "/v3/kv/txn":
		for _, c := range q.Compare {
			if f.keys[string(c.Key)] != nil {
				fmt.Fprintf(w, `{%s}`, head)
				return
			}
		}
		f.revision++
		all := f.revision
		for _, p := range q.Success {
			f.revision = all - 1
			f.put(string(p.Put.Key), p.Put.Value, int64(p.Put.Lease))
		}
		fmt.Fprintf(w, `{%s,"succeeded":true}`, head)
	default:
		http.NotFound(w, r)
	}
}

func (f *fakeEtcd) serveWatch(w http.ResponseWriter, r *http.Request, body []byte) {
	var q watchRequest
	json.Unmarshal(body, &q)
	events := make(chan string, 64)
	f.mu.Lock()
	allowed := f.password == "" || f.tokens[r.Header.Get("Authorization")]
	f.watchers[events] = string(q.Create.Key)
	f.mu.Unlock()
	defer f.by(func() { delete(f.watchers, events) })
	fmt.Fprintf(w, `{"result":{"created":true,"canceled":%t}}`+"\n", !allowed)
	for allowed {
		w.(http.Flusher).Flush()
		select {
		case key := <-events:
			fmt.Fprintf(w, `{"result":{"events":[{"kv":{"key":%q}}]}}`+"\n", key)
		case <-r.Context().Done():
			return
		}
	}
}

// line is the connection from one daemon to one endpoint, with its fault.
type line struct {
	mu      sync.Mutex
	handler http.Handler // instead of etcd; nil: all is well
}

func (l *line) set(h http.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handler = h
}

// silent never answers, like an etcd that is stopped or a host that is cut off.
var silent = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
})

// answers gives the same answer to every request.
func answers(status int, kind, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

// daemon is a member of a group in a test.
type daemon struct {
	*etcd
	name   string
	lines  map[string]*line // by host
	log    *syncBuffer
	level  func(logrus.Level) // sets that of the log; at first it is info
	cancel context.CancelFunc
	done   chan struct{}
	rate   float64

	suspended atomic.Int64 // for how long the host was, a time.Duration

	mu    sync.Mutex // protects all following fields
	alive error
	api   APIView
	try   error
	tries int
	seen  [3]int
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// pipes is a listener of pipes.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// newDaemon makes a daemon with a way to each of the clusters, by host. mend may
// change its settings.
func newDaemon(t *testing.T, name string, ways map[string]http.Handler, mend func(*EtcdSettings)) *daemon {
	t.Helper()
	d := &daemon{name: name, lines: make(map[string]*line), log: new(syncBuffer), rate: 1}
	listeners := make(map[string]*pipes)
	for host, way := range ways {
		l, p := &line{}, &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		d.lines[host], listeners[host+":80"] = l, p
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l.mu.Lock()
			h := l.handler
			l.mu.Unlock()
			if h == nil {
				h = way
			}
			h.ServeHTTP(w, r)
		})}
		go server.Serve(p)
		t.Cleanup(func() { server.Close() })
	}
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		p := listeners[address]
		if p == nil {
			return nil, fmt.Errorf("dial %s: no route to host", address)
		}
		ours, theirs := net.Pipe()
		select {
		case p.conns <- theirs:
			return ours, nil
		case <-p.done:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var hosts []string
	for host := range ways {
		hosts = append(hosts, "http://"+host)
	}
	slices.Sort(hosts)
	s := EtcdSettings{
		Endpoints: hosts, Group: "office", Member: name, Version: "2.1.0", Page: "page", TTL: 10 * time.Second,
		Alive: func(context.Context) error { d.mu.Lock(); defer d.mu.Unlock(); return d.alive },
		API:   func() APIView { d.mu.Lock(); defer d.mu.Unlock(); return d.api },
		TryAPI: func(context.Context) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.tries++
			return d.try
		},
		Seen: func() (int, int, int) { d.mu.Lock(); defer d.mu.Unlock(); return d.seen[0], d.seen[1], d.seen[2] },
	}
	if mend != nil {
		mend(&s)
	}
	log := logrus.New()
	log.SetOutput(d.log)
	log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true})
	d.level = log.SetLevel
	began := time.Now()
	var err error
	d.etcd, err = newEtcd(s, log, func() time.Duration {
		return time.Hour + time.Duration(float64(time.Since(began))*d.rate) + time.Duration(d.suspended.Load())
	}, dial)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *daemon) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// start runs the daemon until stop.
func (d *daemon) start() *daemon {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel, d.done = cancel, make(chan struct{})
	go func() {
		defer close(d.done)
		d.Run(ctx)
	}()
	return d
}

func (d *daemon) stop() {
	d.cancel()
	<-d.done
}

// wait lets faked time pass, until everything due in it has happened.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// expect fails the test unless the scopes of daemons are those wanted.
func expect(t *testing.T, what string, want Scope, daemons ...*daemon) {
	t.Helper()
	for _, d := range daemons {
		if got := d.Scope(); got != want {
			t.Errorf("%s: %s reports %v, want %v (%+v)\n%s", what, d.name, got, want, d.State(), d.log)
		}
	}
}

// said fails the test unless a daemon logged some words so often.
func (d *daemon) said(t *testing.T, words string, want int) {
	t.Helper()
	if got := strings.Count(d.log.String(), words); got != want {
		t.Errorf("%s logged %q %d times, want %d:\n%s", d.name, words, got, want, d.log)
	}
}

// noLog returns a log that discards everything.
func noLog() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// Package statusapi is the client of the Status API: the map of replicas in,
// their verdicts out. It is the only package that knows the wire format.
package statusapi

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/crisp-im/crisp-status-local/v2/internal/redact"
)

const (
	requestTimeout = 20 * time.Second // for a whole answer, by the protocol
	mapRetries     = 2                // further attempts at the map, by the protocol
	maxAnswer      = 64 << 10         // bytes of header, and of what is read of a report's answer
	maxIdleConns   = 256              // as many as report.Outbox has requests in flight for most maps; with HTTP/2 there are few
	maxConns       = 2 * maxIdleConns // a dial for each request that waits would open many times as many on a busy host
	spareConns     = 8                // of these, for the map and for those that are being replaced
	bufferSize     = 1 << 10          // bytes, two a connection: a report and its answer fit in
	timeoutsInARow = 3                // after which no idle connection is trusted

	// For a proxy to answer CONNECT, for which package http waits for a minute. It is beyond
	// the time of a handshake, which the same bytes may begin.
	tunnelTime = requestTimeout/2 + time.Second
)

// Client speaks to one Status API as one status page's reporter. Its methods
// may be called by many goroutines.
type Client struct {
	endpoint  string
	authorize func(*http.Request) // holds the token, so that no print of a Client shows it
	masker    *redact.Masker      // of the token, and of the credentials for a proxy
	pause     func(retryAfter time.Duration) time.Duration
	http      *http.Client
	conns     *conns       // of all lanes
	lanes     lanes        // of reports; the first one has http
	bounds    bounds       // of a map
	timeouts  atomic.Int32 // requests in a row without an answer in time
	noMap     atomic.Bool  // the last request for the map failed
	ahead     atomic.Pointer[time.Duration]
	muteFor   time.Duration // muteFor, but in tests

	mu       sync.Mutex // protects bodies
	bodies   int        // of answers to reports, being read
	bodyRead *sync.Cond // signalled when one was read
}

// New returns a client of the API at endpoint, an http or https URL without a
// trailing slash. Requests name themselves userAgent; pause is the wait before
// another attempt at the map, given what the API asks for (0 if it does not).
func New(endpoint, token, userAgent string, pause func(retryAfter time.Duration) time.Duration) *Client {
	authorization := "Basic " + base64.StdEncoding.EncodeToString([]byte(":"+token))
	proxies := proxiesOfEnvironment()
	secrets := []redact.Secret{redact.Basic(url.UserPassword("", token))}
	for _, user := range proxies.users() {
		secrets = append(secrets, redact.Basic(user))
	}
	open := &conns{open: make(map[*conn]struct{})}
	if strings.HasPrefix(endpoint, "https:") {
		open.firstByte = tunnelTime
	}
	c := &Client{
		conns:    open,
		endpoint: endpoint,
		authorize: func(req *http.Request) {
			req.Header.Set("Authorization", authorization)
			req.Header.Set("User-Agent", userAgent)
		},
		masker:  redact.New(secrets...),
		pause:   pause,
		bounds:  largest(),
		muteFor: muteFor,
		http: &http.Client{
			Timeout:   requestTimeout,
			Transport: newTransport(proxies, open),
			// The token is for this endpoint alone, and a report that was sent
			// elsewhere was not delivered.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.bodyRead = sync.NewCond(&c.mu)
	return c
}

func newTransport(proxies *proxies, open *conns) *http.Transport {
	dialer := &net.Dialer{
		Timeout: requestTimeout / 2,
		// Firewalls drop idle connections silently. Keep-alives detect that before
		// a report waits for it.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 2},
	}
	return &http.Transport{
		Proxy:                  proxies.of,
		OnProxyConnectResponse: refusedByProxy,
		DialContext:            open.dialBy(dialer),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12}, // whatever GODEBUG says
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
		TLSHandshakeTimeout:    requestTimeout / 2,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		MaxConnsPerHost:        maxConns,
		IdleConnTimeout:        3 * time.Minute,
		MaxResponseHeaderBytes: maxAnswer,
		ReadBufferSize:         bufferSize,
		WriteBufferSize:        bufferSize,
	}
}

// Close waits for the bodies that are being read, a second at most, and closes the
// idle connections. The client can still be used.
func (c *Client) Close() {
	c.mu.Lock()
	for c.bodies > 0 {
		c.bodyRead.Wait()
	}
	c.mu.Unlock()
	c.closeIdle()
}

func (c *Client) closeIdle() {
	c.http.CloseIdleConnections()
	c.lanes.closeIdle()
}

// Sever closes the connections over which nothing has come since a request was written,
// and discards what the kernel has not sent. The requests on them fail; those whose context
// is done are not repeated. With HTTP/2, to cancel a request alone takes nothing back.
func (c *Client) Sever() { c.conns.sever() }

// Carries returns how many reports the connections carry at a time, and how many they
// would if there were more to be carried: with HTTP/2 there are more connections as
// they are needed.
func (c *Client) Carries() (now, most int) { return c.lanes.carry() }

// LimitReplicas has the replicas of a map that are beyond n left out, with a line in its
// Problems. It must be called before FetchMap, and raises no limit.
func (c *Client) LimitReplicas(n int) {
	if n < c.bounds.replicas {
		c.bounds.replicas, c.bounds.byMemory = n, true
	}
}

// Masker returns the masker of the client's credentials. It is for lines that package
// http logs by itself, which repeat bytes of a server.
func (c *Client) Masker() *redact.Masker { return c.masker }

// quoted returns an error with the text of err, secrets masked: err may repeat words of
// the API or of a proxy, which saw the credentials. It does not wrap err, which would
// give them out.
func (c *Client) quoted(err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return errors.New(c.masker.Quote(err.Error()))
}

// FetchMap asks for the map, at most three times. prev is the map in hand; nil
// asks for a whole one. Where prev is still right, prev itself is returned. The
// error is ErrUnauthorized (not retried), or that of the last attempt.
func (c *Client) FetchMap(ctx context.Context, prev *Map) (*Map, error) {
	address := c.endpoint + "/probes/local"
	if prev != nil && prev.date != "" {
		address += "?since=" + url.QueryEscape(prev.date)
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching the map: %w", c.quoted(err))
	}
	c.authorize(req.Request)
	req.Header.Set("Accept", "application/json")

	// The answer is parsed where the retry is decided, since a body that does not
	// parse is a failed attempt too.
	var m *Map
	var failed error
	client := c.retrying(mapRetries)
	client.CheckRetry = func(_ context.Context, resp *http.Response, err error) (bool, error) {
		c.noteTimeout(err)
		m, failed = nil, c.translate(err)
		if failed == nil {
			m, failed = c.parseMapResponse(resp, prev)
		}
		return failed != nil && !errors.Is(failed, ErrUnauthorized), nil
	}
	resp, err := client.Do(req)
	if resp != nil {
		resp.Body.Close()
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case failed == nil && err != nil:
		failed = c.quoted(err)
	}
	c.noMap.Store(failed != nil)
	if failed != nil {
		return nil, fmt.Errorf("fetching the map from %s: %w", c.endpoint, failed)
	}
	return m, nil
}

// parseMapResponse returns the map of an answer; prev if the answer is that it is
// still right.
func (c *Client) parseMapResponse(resp *http.Response, prev *Map) (*Map, error) {
	c.compareClock(resp)
	switch resp.StatusCode {
	case http.StatusOK:
		if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(strings.ToLower(kind), "application/json") {
			return nil, fmt.Errorf("answer has the content type %q, want application/json (is the endpoint right?)", c.masker.Quote(kind))
		}
		if resp.ContentLength > int64(c.bounds.bytes) {
			return nil, c.bounds.errBytes()
		}
		m, err := decodeMap(resp.Body, c.bounds)
		if err != nil {
			c.noteTimeout(err)
			return nil, c.translate(err)
		}
		for i, problem := range m.Problems {
			m.Problems[i] = c.masker.Mask(problem)
		}
		return m, nil
	case http.StatusNotModified:
		if prev == nil {
			return nil, errors.New("status 304, although no map is in hand")
		}
		return prev, nil
	case http.StatusUnauthorized:
		return nil, ErrUnauthorized
	}
	return nil, answerError(resp)
}

// compareClock notes how far this host's clock is from that of an answer.
func (c *Client) compareClock(resp *http.Response) {
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		ahead := time.Since(date)
		c.ahead.Store(&ahead)
	}
}

// ClockAhead returns how far the clock of this host was ahead of the API's at the
// last answer to a map request, to a second; false if none told its time.
func (c *Client) ClockAhead() (time.Duration, bool) {
	if ahead := c.ahead.Load(); ahead != nil {
		return *ahead, true
	}
	return 0, false
}

// retrying returns a client that repeats a failed request so many times. Reports go
// without it: its wrapped transport costs each of them a goroutine and a timer.
func (c *Client) retrying(times int) *retryablehttp.Client {
	client := *c.http
	client.Transport = &keepIdle{client: c, afresh: c.noMap.Load()}
	return &retryablehttp.Client{
		HTTPClient:   &client,
		RetryMax:     times,
		CheckRetry:   func(context.Context, *http.Response, error) (bool, error) { return false, nil },
		Backoff:      c.backoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// keepIdle hides CloseIdleConnections from retryablehttp, which calls it after every
// failure: one failed request would cost all others their connections. The attempts after one
// that failed have connections of their own, since that of the first may lead to a server that
// fails.
type keepIdle struct {
	client *Client
	afresh bool
}

func (k *keepIdle) RoundTrip(req *http.Request) (*http.Response, error) {
	used := k.client.http
	if k.afresh {
		used = k.client.lanes.onceFor(used)
	}
	k.afresh = true
	return used.Transport.RoundTrip(req)
}

// backoff returns the wait before another attempt at the map.
func (c *Client) backoff(_, _ time.Duration, _ int, resp *http.Response) time.Duration {
	return c.pause(retryAfter(resp))
}

// noteTimeout reports whether err is that of a request without an answer in time, and
// counts those in a row. After three of them it closes the idle connections: a NAT may
// have dropped their state silently.
func (c *Client) noteTimeout(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	timedOut := ok && netErr.Timeout()
	switch {
	case err == nil:
		c.timeouts.Store(0)
	case timedOut && c.timeouts.Add(1)%timeoutsInARow == 0:
		c.closeIdle()
	}
	return timedOut
}

// translate turns err into a sentence for an operator, with secrets masked; nil
// stays nil. Method and address are left to the caller.
func (c *Client) translate(err error) error {
	if err == nil {
		return nil
	}
	// A timeout of the network itself, such as of a dial, has its own words.
	netErr, isNet := errors.AsType[net.Error](err)
	_, isOp := errors.AsType[*net.OpError](err)
	if isNet && netErr.Timeout() && !isOp && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", requestTimeout)
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	quoted := c.quoted(err)
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return &DisconnectedError{quoted.Error()}
		}
	}
	return quoted
}

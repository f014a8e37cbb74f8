// Package statusapi is the client of the Status API: the map of replicas in,
// their verdicts out. It is the only package that knows the wire format.
package statusapi

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/crisp-im/crisp-status-local/v2/internal/redact"
)

const (
	requestTimeout = 20 * time.Second // for a whole answer, by the protocol
	mapRetries     = 2                // further attempts at the map, by the protocol
	maxMap         = 32 << 20         // bytes: a hundred thousand replicas take a third of it
	maxAnswer      = 64 << 10         // bytes of header, and of what is read of a report's answer
	maxIdleConns   = 256              // as many as report.Outbox has requests under way; with HTTP/2 there is one
	timeoutsInARow = 3                // after which no idle connection is trusted
)

// Client speaks to one Status API as one status page's reporter. Its methods
// may be called by many goroutines.
type Client struct {
	endpoint  string
	authorize func(*http.Request) // holds the token, so that no print of a Client shows it
	masker    *redact.Masker      // of the token, and of who the daemon is to a proxy
	pause     func(retryAfter time.Duration) time.Duration
	http      *http.Client
	reports   *retryablehttp.Client
	timeouts  atomic.Int32 // requests in a row that got no answer in time

	mu       sync.Mutex // protects bodies
	bodies   int        // of answers to reports, that are still read
	bodyRead *sync.Cond // when one of them was
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
	c := &Client{
		endpoint: endpoint,
		authorize: func(req *http.Request) {
			req.Header.Set("Authorization", authorization)
			req.Header.Set("User-Agent", userAgent)
		},
		masker: redact.New(secrets...),
		pause:  pause,
		http: &http.Client{
			Timeout:   requestTimeout,
			Transport: newTransport(proxies),
			// The token is for this endpoint alone, and a report that was sent
			// elsewhere was not delivered.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.reports = c.retrying(0)
	c.bodyRead = sync.NewCond(&c.mu)
	return c
}

func newTransport(proxies *proxies) *http.Transport {
	dialer := &net.Dialer{
		Timeout: requestTimeout / 2,
		// Firewalls forget idle connections without a word. The kernel finds
		// out, and no report waits for it.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 2},
	}
	return &http.Transport{
		Proxy:                  proxies.of,
		OnProxyConnectResponse: refusedByProxy,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12}, // whatever GODEBUG says
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
		TLSHandshakeTimeout:    requestTimeout / 2,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        3 * time.Minute,
		MaxResponseHeaderBytes: maxAnswer,
	}
}

// Close waits for the bodies that are still read, a second at most, and closes
// the connections that are idle. The client can still be used.
func (c *Client) Close() {
	c.mu.Lock()
	for c.bodies > 0 {
		c.bodyRead.Wait()
	}
	c.mu.Unlock()
	c.http.CloseIdleConnections()
}

// Masker hides what the client authenticates with. What package http logs by
// itself needs it: it repeats what a server sent unasked.
func (c *Client) Masker() *redact.Masker { return c.masker }

// quoted returns an error that says what err does, as far as it may be printed:
// it repeats words of the API or of a proxy, which saw the credentials. It wraps
// nothing, or who unwraps it would print them.
func (c *Client) quoted(err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return errors.New(c.masker.Quote(err.Error()))
}

// FetchMap asks for the map, at most three times. prev is the map in hand; nil
// asks for a whole one. Where prev is still right, prev itself is returned. The
// error is ErrUnauthorized (not retried), or says what the last attempt met;
// it never replaces a map that is in hand.
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

	// The answer is understood where it is decided whether to ask again,
	// since a body that does not parse is a failed attempt too.
	var m *Map
	var failed error
	client := c.retrying(mapRetries)
	client.CheckRetry = func(_ context.Context, resp *http.Response, err error) (bool, error) {
		m, failed = c.understand(resp, c.heard(err), prev)
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
	if failed != nil {
		return nil, fmt.Errorf("fetching the map from %s: %w", c.endpoint, failed)
	}
	return m, nil
}

// understand makes a map of an answer, or says why it is none.
func (c *Client) understand(resp *http.Response, err error, prev *Map) (*Map, error) {
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(strings.ToLower(kind), "application/json") {
			return nil, fmt.Errorf("answer has the content type %q, want application/json (is the endpoint right?)", c.masker.Quote(kind))
		}
		if resp.ContentLength > maxMap {
			return nil, errMapTooLarge
		}
		m, err := decodeMap(resp.Body)
		if err != nil {
			return nil, c.heard(err)
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

// retrying returns a client that repeats a failed request so many times.
func (c *Client) retrying(times int) *retryablehttp.Client {
	client := *c.http
	client.Transport = keepIdle{c.http}
	return &retryablehttp.Client{
		HTTPClient:   &client,
		RetryMax:     times,
		CheckRetry:   func(context.Context, *http.Response, error) (bool, error) { return false, nil },
		Backoff:      c.backoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// keepIdle hides that idle connections can be closed. retryablehttp does so
// after every failure, and one request that fails would cost all others theirs.
type keepIdle struct{ client *http.Client }

func (k keepIdle) RoundTrip(req *http.Request) (*http.Response, error) {
	return k.client.Transport.RoundTrip(req)
}

// backoff is the wait before another attempt at the map.
func (c *Client) backoff(_, _ time.Duration, _ int, resp *http.Response) time.Duration {
	return c.pause(retryAfter(resp))
}

// heard returns what err comes to in quoted words, and counts the requests that got
// no answer in time: after a few of them the connections in hand are given up,
// since a firewall may have forgotten them.
func (c *Client) heard(err error) error {
	if err == nil {
		c.timeouts.Store(0)
		return nil
	}
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		if c.timeouts.Add(1)%timeoutsInARow == 0 {
			c.http.CloseIdleConnections()
		}
		// What the network itself timed out, such as a dial, has its own words.
		if _, network := errors.AsType[*net.OpError](err); !network && errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %v", requestTimeout)
		}
	}
	// The method and the address are told by who calls.
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return c.quoted(err)
}

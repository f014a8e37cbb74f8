package statusapi

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

const (
	testToken = "t0k3n-to-hide"
	testAgent = "crisp-status-local/test"
)

// roundTripFunc is the whole network between a client and its API.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// newTestClient returns a client whose requests f answers.
func newTestClient(interval time.Duration, f roundTripFunc) *Client {
	c := New("https://report.example.com/v1", testToken, testAgent, paced(interval))
	c.http.Transport = f
	return c
}

// paced is a pause of five seconds, at most half the interval, or what the API
// asks for.
func paced(interval time.Duration) func(time.Duration) time.Duration {
	return func(retryAfter time.Duration) time.Duration {
		if retryAfter > 0 {
			return retryAfter
		}
		return min(5*time.Second, interval/2)
	}
}

// answer returns an answer with a body; header is pairs of names and values.
func answer(code int, body string, header ...string) *http.Response {
	resp := &http.Response{
		StatusCode:    code,
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        make(http.Header),
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
	}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

func mapAnswer(body string) *http.Response {
	return answer(http.StatusOK, body, "Content-Type", "application/json")
}

// hang is an API that takes a request and never answers.
func hang(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// verdict returns a verdict of a replica.
func verdict(service, node, replica string, health probe.Health) Verdict {
	return Verdict{probe.ID{Service: service, Node: node, Replica: replica}, health}
}

func TestReportIsThePostOfTheProtocol(t *testing.T) {
	var got *http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
	}))
	defer server.Close()
	c := New(server.URL+"/v1", testToken, testAgent, paced(2*time.Minute))
	defer c.Close()

	for _, tt := range []struct {
		replica  string
		health   probe.Health
		interval time.Duration
		want     string
	}{
		{"tcp://10.0.0.5:3306", probe.Healthy, 2 * time.Minute, `{"replica_id":"tcp://10.0.0.5:3306","health":"healthy","interval":120}`},
		{"icmp://10.0.0.1", probe.Sick, time.Second, `{"replica_id":"icmp://10.0.0.1","health":"sick","interval":1}`},
		{"https://10.0.0.7/health?a=1&b=<2>#c", probe.Dead, time.Hour, `{"replica_id":"https://10.0.0.7/health?a=1&b=<2>#c","health":"dead","interval":3600}`},
		{" HTTP://Example.com/%41 ", probe.Dead, time.Minute, `{"replica_id":" HTTP://Example.com/%41 ","health":"dead","interval":60}`},
		{`http://example.com/"ü\`, probe.Healthy, time.Minute, `{"replica_id":"http://example.com/\"ü\\","health":"healthy","interval":60}`},
	} {
		if err := c.Report(t.Context(), verdict("service", "node", tt.replica, tt.health), tt.interval); err != nil {
			t.Fatalf("reporting %q: %v", tt.replica, err)
		}
		if body != tt.want {
			t.Errorf("body of the report of %q: got %s, want %s", tt.replica, body, tt.want)
		}
		if got.Method != http.MethodPost || got.RequestURI != "/v1/report/service/node" {
			t.Errorf("got %s %s, want POST /v1/report/service/node", got.Method, got.RequestURI)
		}
		for name, want := range map[string]string{
			"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(":"+testToken)),
			"User-Agent":    testAgent,
			"Content-Type":  "application/json",
		} {
			if values := got.Header.Values(name); len(values) != 1 || values[0] != want {
				t.Errorf("header %s: got %q, want %q", name, values, want)
			}
		}
		if _, there := got.Header["Idempotency-Key"]; there {
			t.Errorf("header Idempotency-Key: got one on the wire, want none")
		}
		if got.ContentLength != int64(len(tt.want)) {
			t.Errorf("Content-Length: got %d, want %d", got.ContentLength, len(tt.want))
		}
	}
}

// TestIDsAreEscaped: ids are data from outside, each one segment of the path.
func TestIDsAreEscaped(t *testing.T) {
	var path, uri string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, uri = r.URL.Path, r.RequestURI
	}))
	defer server.Close()
	c := New(server.URL+"/v1", testToken, testAgent, paced(time.Minute))
	defer c.Close()
	for _, tt := range []struct{ id, want string }{
		{"3f0c-9b1e", "3f0c-9b1e"},
		{"a/b", "a%2Fb"},
		{".", "%2E"},
		{"..", "%2E%2E"},
		{"...", "%2E%2E%2E"},
		{"a..b", "a..b"},
		{"../../admin", "..%2F..%2Fadmin"},
		{"a b", "a%20b"},
		{"100%", "100%25"},
		{"%2F", "%252F"},
		{"a?b#c;d", "a%3Fb%23c%3Bd"},
		{"a\r\nHost: b", "a%0D%0AHost:%20b"},
		{"größe", "gr%C3%B6%C3%9Fe"},
		{`a\b`, "a%5Cb"},
	} {
		if err := c.Report(t.Context(), verdict(tt.id, tt.id, "tcp://a:1", probe.Healthy), time.Minute); err != nil {
			t.Fatalf("reporting for the id %q: %v", tt.id, err)
		}
		if want := "/v1/report/" + tt.want + "/" + tt.want; uri != want {
			t.Errorf("id %q: got the path %s, want %s", tt.id, uri, want)
		}
		if want := "/v1/report/" + tt.id + "/" + tt.id; path != want {
			t.Errorf("id %q: the API reads %q, want %q", tt.id, path, want)
		}
	}
}

// TestAnswersToAReport has a row for each kind of answer. None is asked for
// again: that is the outbox's to decide.
func TestAnswersToAReport(t *testing.T) {
	for _, tt := range []struct {
		code    int
		meaning string
		text    string
	}{
		{200, "taken", ""},
		{201, "taken", ""},
		{204, "taken", ""},
		{299, "taken", ""},
		{302, "rejected", "status 302 (Found): redirects are not followed"},
		{307, "rejected", "status 307 (Temporary Redirect): redirects are not followed"},
		{400, "rejected", "status 400 (Bad Request)"},
		{401, "unauthorized", "the Status API does not accept the token (status 401)"},
		{403, "rejected", "status 403 (Forbidden)"},
		{404, "unknown", "the Status API does not know the replica (status 404)"},
		{422, "rejected", "status 422 (Unprocessable Entity)"},
		{429, "throttled", "status 429 (Too Many Requests)"},
		{500, "unavailable", "status 500 (Internal Server Error)"},
		{503, "unavailable", "status 503 (Service Unavailable)"},
		{599, "unavailable", "status 599"},
	} {
		requests := 0
		c := newTestClient(time.Minute, func(req *http.Request) (*http.Response, error) {
			requests++
			return answer(tt.code, "", "Location", "https://elsewhere.example.com/"), nil
		})
		err := c.Report(t.Context(), verdict("s", "n", "tcp://a:1", probe.Healthy), time.Minute)
		if requests != 1 {
			t.Errorf("status %d: got %d requests, want 1", tt.code, requests)
		}
		if got := meaning(err); got != tt.meaning || got != "taken" && err.Error() != tt.text {
			t.Errorf("status %d: got %s, %v; want %s, %s", tt.code, got, err, tt.meaning, tt.text)
		}
	}
}

// meaning returns what an error of a report means.
func meaning(err error) string {
	away, isAway := errors.AsType[*UnavailableError](err)
	_, isRejected := errors.AsType[*RejectedError](err)
	switch {
	case err == nil:
		return "taken"
	case errors.Is(err, ErrUnauthorized):
		return "unauthorized"
	case errors.Is(err, ErrUnknownReplica):
		return "unknown"
	case errors.Is(err, ErrWebPage):
		return "web page"
	case isRejected:
		return "rejected"
	case isAway && away.Throttled:
		return "throttled"
	case isAway:
		return "unavailable"
	}
	return "no answer"
}

// TestReportIsDecidedByItsStatus: its body may hang, and is read beside for a
// second at most.
func TestReportIsDecidedByItsStatus(t *testing.T) {
	for code, want := range map[int]string{200: "taken", 404: "unknown", 500: "unavailable"} {
		synctest.Test(t, func(t *testing.T) {
			closed := false
			c := newTestClient(time.Minute, func(req *http.Request) (*http.Response, error) {
				resp := answer(code, "")
				resp.ContentLength = -1
				resp.Body = &hangingBody{req, &closed}
				return resp, nil
			})
			began := time.Now()
			ctx, cancel := context.WithCancel(t.Context())
			err := c.Report(ctx, verdict("s", "n", "tcp://a:1", probe.Healthy), time.Minute)
			cancel()
			if got := meaning(err); got != want || time.Since(began) != 0 {
				t.Errorf("status %d: got %s after %v, want %s at once", code, got, time.Since(began), want)
			}
			c.Close()
			if !closed || time.Since(began) != time.Second {
				t.Errorf("status %d: body closed: %v, after %v; want it closed after 1s", code, closed, time.Since(began))
			}
		})
	}
}

// hangingBody is a body that never comes.
type hangingBody struct {
	req    *http.Request
	closed *bool
}

func (b *hangingBody) Read([]byte) (int, error) {
	<-b.req.Context().Done()
	return 0, b.req.Context().Err()
}

func (b *hangingBody) Close() error { *b.closed = true; return nil }

// TestWebPageIsTaken, but said to be one.
func TestWebPageIsTaken(t *testing.T) {
	for kind, want := range map[string]string{
		"text/html": "web page", "Text/HTML; charset=utf-8": "web page", "application/json": "taken", "text/plain": "taken", "": "taken",
	} {
		c := newTestClient(time.Minute, func(*http.Request) (*http.Response, error) {
			return answer(200, "<html>sign in</html>", "Content-Type", kind), nil
		})
		if got := meaning(c.Report(t.Context(), verdict("s", "n", "tcp://a:1", probe.Healthy), time.Minute)); got != want {
			t.Errorf("content type %q: got %s, want %s", kind, got, want)
		}
		c.Close()
	}
}

func TestReportWithoutAnAnswer(t *testing.T) {
	r := verdict("s", "n", "tcp://a:1", probe.Healthy)
	t.Run("transport error", func(t *testing.T) {
		requests := 0
		c := newTestClient(time.Minute, func(*http.Request) (*http.Response, error) {
			requests++
			return nil, errors.New("connection refused")
		})
		err := c.Report(t.Context(), r, time.Minute)
		if err == nil || err.Error() != "connection refused" {
			t.Errorf("got the error %v, want the reason alone", err)
		}
		if got := meaning(err); got != "no answer" || requests != 1 {
			t.Errorf("got %s after %d requests, want no answer after 1", got, requests)
		}
	})
	t.Run("no connection in time", func(t *testing.T) {
		c := newTestClient(time.Minute, func(*http.Request) (*http.Response, error) {
			_, err := net.DialTimeout("tcp", "127.0.0.1:1", time.Nanosecond)
			return nil, err
		})
		if err := c.Report(t.Context(), r, time.Minute); err == nil || err.Error() != "dial tcp 127.0.0.1:1: i/o timeout" {
			t.Errorf("got the error %v, want it to say that it was the dial", err)
		}
	})
	t.Run("20 s", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			err := newTestClient(time.Minute, hang).Report(t.Context(), r, time.Minute)
			if err == nil || err.Error() != "no answer within 20s" || time.Since(began) != 20*time.Second {
				t.Errorf("got %v after %v, want no answer within 20s after just that", err, time.Since(began))
			}
		})
	})
	t.Run("cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			began := time.Now()
			err := newTestClient(time.Minute, hang).Report(ctx, r, time.Minute)
			if !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
				t.Errorf("got %v after %v, want context canceled after 1s", err, time.Since(began))
			}
		})
	})
}

// TestRetryAfter: how far it is obeyed is not the client's to decide.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		const longest = math.MaxInt64 / time.Second * time.Second
		for _, tt := range []struct {
			code int
			text string
			want time.Duration
		}{
			{429, "7", 7 * time.Second},
			{503, "7", 7 * time.Second},
			{503, date(7 * time.Second), 7 * time.Second},
			{503, "3600", time.Hour},
			{503, date(time.Hour), time.Hour},
			{503, "99999999999", longest},
			{503, "99999999999999999999", longest},
			{503, "0", 0},
			{503, "-7", 0},
			{503, "soon", 0},
			{503, "", 0},
			{503, date(-time.Hour), 0},
			{500, "7", 0},
		} {
			c := newTestClient(time.Minute, func(*http.Request) (*http.Response, error) {
				return answer(tt.code, "", "Retry-After", tt.text), nil
			})
			err := c.Report(t.Context(), verdict("s", "n", "tcp://a:1", probe.Healthy), time.Minute)
			away, ok := errors.AsType[*UnavailableError](err)
			if !ok || away.RetryAfter != tt.want {
				t.Errorf("status %d with Retry-After %q: got %+v, want it to ask for %v", tt.code, tt.text, away, tt.want)
			}
		}
	})
}

func TestClientShowsNoToken(t *testing.T) {
	c := New("https://report.example.com/v1", testToken, testAgent, paced(time.Minute))
	secrets := []string{testToken, base64.StdEncoding.EncodeToString([]byte(":" + testToken))}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{c, c.http, c.http.Transport, struct{ client *Client }{c}, []any{c}, c.authorize} {
			for _, secret := range secrets {
				for _, form := range []string{secret, fmt.Sprintf("%x", secret)} {
					if got := fmt.Sprintf(verb, value); strings.Contains(got, form) {
						t.Errorf("%s of a %T shows the token: %s", verb, value, got)
					}
				}
			}
		}
	}
}

// TestErrorsShowNoToken: not even what the other side sends back is repeated.
func TestErrorsShowNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, code := range []int{200, 302, 401, 500} {
			c := newTestClient(time.Minute, func(req *http.Request) (*http.Response, error) {
				return answer(code, req.Header.Get("Authorization"), "Content-Type", "application/json", "Location", "https://user:"+testToken+"@example.com/"), nil
			})
			_, err := c.FetchMap(t.Context(), nil)
			if err == nil || strings.Contains(err.Error(), testToken) || strings.Contains(err.Error(), "OnQwazNu") {
				t.Errorf("status %d: got the error %v, want one without the token", code, err)
			}
		}
	})
}

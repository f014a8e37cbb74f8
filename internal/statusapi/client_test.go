package statusapi

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
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
	c := New("https://report.example.com/v1", testToken, testAgent, interval)
	c.http.Transport = f
	return c
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

// result returns a verdict of a replica.
func result(t testing.TB, service, node, replica string, health probe.Health) probe.Result {
	t.Helper()
	target, err := probe.ParseTarget(replica)
	if err != nil {
		t.Fatal(err)
	}
	return probe.Result{Check: probe.Check{ServiceID: service, NodeID: node, Target: target}, Health: health}
}

func TestReportIsThePostOfTheProtocol(t *testing.T) {
	var got *http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
	}))
	defer server.Close()
	c := New(server.URL+"/v1", testToken, testAgent, 2*time.Minute)
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
		if err := c.Report(t.Context(), result(t, "service", "node", tt.replica, tt.health), tt.interval); err != nil {
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
	c := New(server.URL+"/v1", testToken, testAgent, time.Minute)
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
		if err := c.Report(t.Context(), result(t, tt.id, tt.id, "tcp://a:1", probe.Healthy), time.Minute); err != nil {
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
		code         int
		unauthorized bool
		want         string // the error; empty: taken
	}{
		{200, false, ""},
		{201, false, ""},
		{204, false, ""},
		{299, false, ""},
		{302, false, "status 302 (Found): redirects are not followed"},
		{307, false, "status 307 (Temporary Redirect): redirects are not followed"},
		{400, false, "status 400 (Bad Request)"},
		{401, true, "status 401 (Unauthorized)"},
		{404, false, "status 404 (Not Found)"},
		{429, false, "status 429 (Too Many Requests)"},
		{500, false, "status 500 (Internal Server Error)"},
		{599, false, "status 599"},
	} {
		requests := 0
		c := newTestClient(time.Minute, func(req *http.Request) (*http.Response, error) {
			requests++
			return answer(tt.code, "", "Location", "https://elsewhere.example.com/"), nil
		})
		err := c.Report(t.Context(), result(t, "s", "n", "tcp://a:1", probe.Healthy), time.Minute)
		if requests != 1 {
			t.Errorf("status %d: got %d requests, want 1", tt.code, requests)
		}
		if tt.want == "" {
			if err != nil {
				t.Errorf("status %d: got %v, want it taken", tt.code, err)
			}
			continue
		}
		refusal, ok := errors.AsType[*Refusal](err)
		if !ok || refusal.Status() != tt.code || err.Error() != tt.want {
			t.Errorf("status %d: got the error %v, want a refusal: %s", tt.code, err, tt.want)
		}
		if got := errors.Is(err, ErrUnauthorized); got != tt.unauthorized {
			t.Errorf("status %d: is it ErrUnauthorized: got %v, want %v", tt.code, got, tt.unauthorized)
		}
	}
}

func TestReportWithoutAnAnswer(t *testing.T) {
	r := result(t, "s", "n", "tcp://a:1", probe.Healthy)
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
		if _, refused := errors.AsType[*Refusal](err); refused || requests != 1 {
			t.Errorf("got a refusal: %v, after %d requests; want none after 1", refused, requests)
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

func TestRetryAfterIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		for _, tt := range []struct {
			code     int
			text     string
			interval time.Duration
			want     time.Duration
		}{
			{429, "7", 2 * time.Minute, 7 * time.Second},
			{503, "7", 2 * time.Minute, 7 * time.Second},
			{503, date(7 * time.Second), 2 * time.Minute, 7 * time.Second},
			{503, "3600", 2 * time.Minute, time.Minute},
			{503, date(time.Hour), 2 * time.Minute, time.Minute},
			{503, "99999999999999999999", 2 * time.Minute, time.Minute},
			{503, "3600", 10 * time.Second, 10 * time.Second},
			{503, "0", 2 * time.Minute, 0},
			{503, "-7", 2 * time.Minute, 0},
			{503, "soon", 2 * time.Minute, 0},
			{503, "", 2 * time.Minute, 0},
			{503, date(-time.Hour), 2 * time.Minute, 0},
			{500, "7", 2 * time.Minute, 0},
			{404, "7", 2 * time.Minute, 0},
		} {
			c := newTestClient(tt.interval, func(*http.Request) (*http.Response, error) {
				return answer(tt.code, "", "Retry-After", tt.text), nil
			})
			err := c.Report(t.Context(), result(t, "s", "n", "tcp://a:1", probe.Healthy), time.Minute)
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok || refusal.RetryAfter() != tt.want {
				t.Errorf("status %d with Retry-After %q, interval %v: got %v, want to be held %v", tt.code, tt.text, tt.interval, err, tt.want)
			}
		}
	})
}

func TestClientShowsNoToken(t *testing.T) {
	c := New("https://report.example.com/v1", testToken, testAgent, time.Minute)
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

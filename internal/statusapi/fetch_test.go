package statusapi

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const emptyMap = `{"data":{"services":[]}}`

func TestMapRequestIsTheGetOfTheProtocol(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, emptyMap)
	}))
	defer server.Close()
	c := New(server.URL+"/v1", testToken, testAgent, paced(time.Minute))
	defer c.Close()
	for _, tt := range []struct {
		name, want string
		prev       *Map
	}{
		{"no map in hand", "/v1/probes/local", nil},
		{"a map without a date", "/v1/probes/local", decoded(t, `{"data":{"services":[]}}`)},
		{"a map whose date is null", "/v1/probes/local", decoded(t, `{"data":{"date":null,"services":[]}}`)},
		{"a map with a date", "/v1/probes/local?since=1700000000000", decoded(t, `{"data":{"date":1700000000000,"services":[]}}`)},
		{"the date 0", "/v1/probes/local?since=0", decoded(t, `{"data":{"date":0,"services":[]}}`)},
		{"a date of more digits than a float has", "/v1/probes/local?since=12345678901234567890123", decoded(t, `{"data":{"date":12345678901234567890123,"services":[]}}`)},
		{"a date as it came", "/v1/probes/local?since=1.70E%2B12", decoded(t, `{"data":{"date":1.70E+12,"services":[]}}`)},
	} {
		if _, err := c.FetchMap(t.Context(), tt.prev); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got.Method != http.MethodGet || got.RequestURI != tt.want {
			t.Errorf("%s: got %s %s, want GET %s", tt.name, got.Method, got.RequestURI, tt.want)
		}
		if want := "Basic " + base64.StdEncoding.EncodeToString([]byte(":"+testToken)); got.Header.Get("Authorization") != want {
			t.Errorf("%s: Authorization: got %q, want %q", tt.name, got.Header.Get("Authorization"), want)
		}
		if got.Header.Get("User-Agent") != testAgent {
			t.Errorf("%s: User-Agent: got %q, want %q", tt.name, got.Header.Get("User-Agent"), testAgent)
		}
	}
}

// TestAnswersToAMapRequest has a row for each row of the protocol's table.
func TestAnswersToAMapRequest(t *testing.T) {
	held := &Map{date: "1"}
	status := func(code int) roundTripFunc {
		return func(*http.Request) (*http.Response, error) { return answer(code, "no"), nil }
	}
	kind := func(kind, body string) roundTripFunc {
		return func(*http.Request) (*http.Response, error) { return answer(200, body, "Content-Type", kind), nil }
	}
	const json = "application/json"
	for _, tt := range []struct {
		name     string
		prev     *Map
		api      roundTripFunc
		requests int
		want     string // of the error; empty: a new map
	}{
		{"200 with a map", nil, kind(json, emptyMap), 1, ""},
		{"200 replaces the map in hand", held, kind(json, emptyMap), 1, ""},
		{"a content type that starts so", nil, kind("application/json; charset=utf-8", emptyMap), 1, ""},
		{"a content type in capitals", nil, kind("Application/JSON", emptyMap), 1, ""},
		{"another content type", nil, kind("text/html", emptyMap), 3, `content type "text/html", want application/json`},
		{"no content type", nil, kind("", emptyMap), 3, `content type ""`},
		{"HTML called JSON", nil, kind(json, "<html>"), 3, "invalid character '<'"},
		{"truncated JSON", nil, kind(json, emptyMap[:10]), 3, "unexpected end of JSON input"},
		{"an empty body", nil, kind(json, ""), 3, "unexpected end of JSON input"},
		{"something after the JSON", nil, kind(json, emptyMap+"{}"), 3, "after top-level value"},
		{"304 without a map in hand", nil, status(304), 3, "status 304, although no map is in hand"},
		{"401", nil, status(401), 1, "does not accept the token"},
		{"401 with a map in hand", held, status(401), 1, "does not accept the token"},
		{"204", nil, status(204), 3, "status 204"},
		{"400", nil, status(400), 3, "status 400"},
		{"403", nil, status(403), 3, "status 403"},
		{"404", nil, status(404), 3, "status 404"},
		{"500", held, status(500), 3, "status 500"},
		{"503", nil, status(503), 3, "status 503"},
		{"a redirect", nil, func(*http.Request) (*http.Response, error) {
			return answer(302, "", "Location", "https://elsewhere.example.com/"), nil
		}, 3, "redirects are not followed"},
		{"transport error", nil, func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }, 3, "connection refused"},
		{"no answer", nil, hang, 3, "no answer within 20s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				c := newTestClient(time.Minute, func(req *http.Request) (*http.Response, error) {
					requests++
					if req.URL.Host != "report.example.com" {
						t.Errorf("got a request for %s, want the endpoint asked alone", req.URL)
					}
					return tt.api(req)
				})
				m, err := c.FetchMap(t.Context(), tt.prev)
				if requests != tt.requests {
					t.Errorf("got %d requests, want %d", requests, tt.requests)
				}
				switch {
				case tt.want == "" && (err != nil || m == nil || m == tt.prev):
					t.Errorf("got %v and the error %v, want a new map", m, err)
				case tt.want != "" && (err == nil || m != nil || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("got %v and the error %v, want no map and %q", m, err, tt.want)
				}
				if got, want := errors.Is(err, ErrUnauthorized), strings.HasPrefix(tt.name, "401"); got != want {
					t.Errorf("is it ErrUnauthorized: got %v, want %v", got, want)
				}
			})
		})
	}
}

func TestNotModifiedIsTheMapInHand(t *testing.T) {
	held := decoded(t, `{"data":{"date":1,"services":[]}}`)
	c := newTestClient(time.Minute, func(*http.Request) (*http.Response, error) { return answer(304, ""), nil })
	if m, err := c.FetchMap(t.Context(), held); m != held || err != nil {
		t.Errorf("got %v and %v, want the map in hand itself", m, err)
	}
}

// TestMapIsAskedForAgain: twice, after the pause that it was given, which is
// told what the API asks for.
func TestMapIsAskedForAgain(t *testing.T) {
	for _, tt := range []struct {
		code int
		text string
		want time.Duration
	}{
		{500, "", 0},
		{503, "", 0},
		{503, "17", 17 * time.Second},
		{429, "17", 17 * time.Second},
		{503, "3600", time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			var times []time.Time
			c := newTestClient(time.Minute, func(*http.Request) (*http.Response, error) {
				if times = append(times, time.Now()); len(times) < 3 {
					return answer(tt.code, "", "Retry-After", tt.text), nil
				}
				return mapAnswer(emptyMap), nil
			})
			c.pause = func(retryAfter time.Duration) time.Duration {
				if retryAfter != tt.want {
					t.Errorf("status %d with Retry-After %s: got the wish %v, want %v", tt.code, tt.text, retryAfter, tt.want)
				}
				return 3 * time.Second
			}
			if m, err := c.FetchMap(t.Context(), nil); m == nil || err != nil || len(times) != 3 {
				t.Fatalf("got the error %v after %d requests, want the map of the third attempt", err, len(times))
			}
			if times[1].Sub(times[0]) != 3*time.Second || times[2].Sub(times[1]) != 3*time.Second {
				t.Errorf("status %d: got attempts at %v, want them 3s apart", tt.code, times)
			}
		})
	}
}

func TestEachAttemptAtTheMapHas20Seconds(t *testing.T) {
	t.Run("without an answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			newTestClient(2*time.Minute, hang).FetchMap(t.Context(), nil)
			if got := time.Since(began); got < 68*time.Second || got > 72*time.Second {
				t.Errorf("three attempts at an API that hangs took %v, want 60s and two pauses of 5s or so", got)
			}
		})
	})
	t.Run("in the middle of the body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newTestClient(2*time.Minute, func(req *http.Request) (*http.Response, error) {
				resp := mapAnswer("")
				resp.ContentLength = -1
				resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"data":`), readFunc(func([]byte) (int, error) {
					<-req.Context().Done()
					return 0, req.Context().Err()
				})))
				return resp, nil
			})
			_, err := c.FetchMap(t.Context(), nil)
			if err == nil || !strings.Contains(err.Error(), "no answer within 20s") {
				t.Errorf("got the error %v, want no answer within 20s", err)
			}
		})
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestCancelledMapRequestEndsAtOnce(t *testing.T) {
	why := errors.New("stopping")
	for name, api := range map[string]roundTripFunc{
		"while it is under way": hang,
		"between two attempts":  func(*http.Request) (*http.Response, error) { return answer(500, ""), nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				c := newTestClient(time.Minute, func(req *http.Request) (*http.Response, error) { requests++; return api(req) })
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(why) })
				began := time.Now()
				if _, err := c.FetchMap(ctx, nil); !errors.Is(err, why) {
					t.Errorf("got the error %v, want the cause", err)
				}
				if took := time.Since(began); took != time.Second || requests != 1 {
					t.Errorf("ended after %v and %d requests, want 1s and 1", took, requests)
				}
			})
		})
	}
}

func TestBreakOffIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := newTestClient(time.Minute, func(*http.Request) (*http.Response, error) {
			if requests++; requests == 3 {
				return mapAnswer(emptyMap), nil
			}
			resp := mapAnswer(emptyMap)
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(emptyMap[:8]), readFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF })))
			return resp, nil
		})
		if m, err := c.FetchMap(t.Context(), nil); m == nil || err != nil || requests != 3 {
			t.Errorf("got the error %v after %d requests, want a map after 3", err, requests)
		}
	})
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// TestTargetsShowNoSecretOfTheirURLs: what a URL of the map, or a redirect to
// one, holds besides scheme, host, port, path and names of its query.
func TestTargetsShowNoSecretOfTheirURLs(t *testing.T) {
	t.Parallel()
	var locations []string
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/moved/")); err == nil {
			w.Header()["Location"] = locations[n : n+1]
			w.WriteHeader(http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer target.Close()
	host := target.Listener.Addr().String()
	for _, format := range []string{
		"http://admin:#S3CRET-a@%s/",
		"http://admin:S3CRET-b#x@%s/",
		"http://admin:S3CRET-c/d@%s/",
		"http://admin:?S3CRET-d@%s/",
		"http://admin:S3CRET-e@x@%s/",
		`http://admin:S3CRET-f\x@%s/`,
		"http://admin:S3CRET-g^%%w@%s/",
		"http://S3CRET-h@%s/",
		"http:admin:S3CRET-i@%s/",
		"//admin:S3CRET-j@%s/",
		"http://%s/?access_token=S3CRET-k",
		"http://%s/?S3CRET-l",
		"http://%s/?a=1&access_token=S3CRET-m#x",
		"http://%s/#S3CRET-n",
		"http://%s/#access_token=S3CRET-o",
		"gopher://admin:#S3CRET-p@%s/",
		"tcp://admin:S3CRET-q@%s/",
		"tcp://%s/?key=S3CRET-r#S3CRET-s",
		"admin:S3CRET-t@%s",
		"http://admin:S3CRET-u@%s:port/?key=S3CRET-v",
		"http://admin:S3CRET-\x1bw@%s/\u202e",
	} {
		locations = append(locations, fmt.Sprintf(format, host))
	}
	replicas := locations
	for n := range locations {
		replicas = append(replicas, fmt.Sprintf("http://%s/moved/%d", host, n))
	}
	list, err := json.Marshal(replicas)
	if err != nil {
		t.Fatal(err)
	}
	var maps, reports atomic.Int64
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodPost {
			reports.Add(1)
			return
		}
		maps.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"data":{"metrics":{"local":{"retry":0,"delay_dead":1}},"services":[{"id":"s","nodes":[{"id":"n","replicas":%s}]}]}}`, list)
	}))
	defer api.Close()
	out := runDaemon(t, api.URL, nil, "a report of each target", func(string) bool {
		return maps.Load() > 2 && reports.Load() > int64(len(locations))
	})
	for line := range strings.Lines(out) {
		if strings.Contains(line, "S3CRET") || strings.Contains(line, "\u202e") {
			t.Errorf("the daemon wrote %s", line)
		}
	}
	if n := strings.Count(out, "redirect"); n == 0 {
		t.Errorf("the daemon wrote nothing of a redirect:\n%s", out)
	}
}

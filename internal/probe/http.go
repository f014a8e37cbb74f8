package probe

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// maxRedirects is how many redirects an attempt follows.
const maxRedirects = 5

// measureHTTP makes one attempt at an http:// or https:// target: a request on
// a fresh connection, and one more for every redirect. It is written on the
// connection itself, with the standard library's parser: a http.Transport costs
// twice the CPU and six times the memory, for reuse that a probe must not have.
func (p *Prober) measureHTTP(ctx context.Context, t Target, rules *Rules, a attempt) error {
	first, err := t.url()
	if err != nil {
		return failure(KindHTTP, "not a URL") // ParseTarget has parsed it
	}
	method := http.MethodHead
	if rules.HealthyMatch != "" || rules.DeadMatch != "" {
		method = http.MethodGet
	}
	hop := request{target: t, url: first, first: first, user: first.User}
	for redirects := 0; ; {
		r, err := p.exchange(ctx, method, hop, a)
		if err != nil {
			return err
		}
		next := location(r.Response)
		switch {
		case next != "":
			r.close()
			if redirects++; redirects > maxRedirects {
				return failure(KindHTTP, "more than %d redirects", maxRedirects)
			}
			if hop, err = hop.redirect(next, first); err != nil {
				return err
			}
			continue
		case method == http.MethodHead && refusesHead(r.StatusCode) && !rules.healthyStatus(r.StatusCode):
			r.close()
			method = http.MethodGet
			continue
		}
		err = rules.judge(r, hop, redirects, a)
		r.close()
		return err
	}
}

// refusesHead reports whether status is the answer of a server that has no
// HEAD (RFC 9110, 15.5.6 and 15.6.2).
func refusesHead(status int) bool {
	return status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented
}

// location returns where r redirects to, or "" if r is itself the answer.
func location(r *http.Response) string {
	switch r.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return r.Header.Get("Location")
	}
	return ""
}

func (rules *Rules) healthyStatus(status int) bool {
	return rules.HealthyAbove <= status && status < rules.HealthyBelow
}

// judge returns nil if the answer r is one of a replica that is up.
func (rules *Rules) judge(r *response, hop request, redirects int, a attempt) error {
	if !rules.healthyStatus(r.StatusCode) {
		at := ""
		if redirects > 0 {
			at = " at " + printable(hop.target.String(), hop)
		}
		return failure(KindStatus, "status %d%s, want %d to %d", r.StatusCode, at, rules.HealthyAbove, rules.HealthyBelow-1)
	}
	if rules.HealthyMatch == "" && rules.DeadMatch == "" {
		return nil
	}
	return rules.search(r.Body, a)
}

// request is one hop on the way to the answer.
type request struct {
	target Target
	url    *url.URL
	first  *url.URL      // of the attempt: what it authenticates with may come back in any answer
	user   *url.Userinfo // to authenticate with; may be nil
}

// redirect returns the request that follows q to where the answer points.
// What first authenticates with goes to its own host alone, and never from
// HTTPS down to HTTP.
func (q request) redirect(where string, first *url.URL) (request, error) {
	u, err := q.url.Parse(where)
	if err != nil {
		return q, failure(KindHTTP, "redirect to %q, which is not a URL", printable(Redact(where), q))
	}
	t, err := ParseTarget(u.String())
	if err != nil {
		return q, &Error{Kind: KindHTTP, Reason: "redirect: " + printable(err.Error(), q), Err: err}
	}
	if t.Scheme() != HTTP && t.Scheme() != HTTPS {
		return q, failure(KindHTTP, "redirect to %s, want http or https", printable(t.String(), q))
	}
	user := u.User
	sameHost := strings.EqualFold(u.Hostname(), first.Hostname())
	if user == nil && sameHost && !(first.Scheme == "https" && u.Scheme == "http") {
		user = first.User
	}
	return request{target: t, url: u, first: first, user: user}, nil
}

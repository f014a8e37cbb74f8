package probe

import (
	"context"
	"net/http"
)

// maxRedirects is how many redirects an attempt follows.
const maxRedirects = 5

// measureHTTP makes one attempt at an http:// or https:// target: a request on
// a fresh connection, and one more for every redirect. It is written on the
// connection itself, with the standard library's parser: a http.Transport costs
// twice the CPU and six times the memory, for reuse that a probe must not have.
func (p *Prober) measureHTTP(ctx context.Context, t Target, rules *Rules, a attempt) error {
	first := request{target: t, user: t.userinfo()}
	method := http.MethodHead
	if rules.HealthyMatch != "" || rules.DeadMatch != "" {
		method = http.MethodGet
	}
	hop := first
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

// maxLocation bounds where an answer points to, in bytes: servers that take
// more are rare, and reasons must not grow with it.
const maxLocation = 16 << 10

// request is one hop on the way to the answer.
type request struct {
	target Target
	user   *userinfo // to authenticate with; may be nil
	first  *request  // of the attempt, whose secrets may come back in any answer; nil: this one
}

// redirect returns the request that follows q to where the answer points. It
// authenticates with the user that is given there, else as q or first did where
// that may be sent on.
func (q request) redirect(where string, first request) (request, error) {
	if len(where) > maxLocation {
		return q, failure(KindHTTP, "redirect: URL of %d bytes, want at most %d", len(where), maxLocation)
	}
	t, user, err := parseURL(where, q.target.target)
	switch {
	case err == errNotURL:
		return q, failure(KindHTTP, "redirect to %q, which is not a URL", printable(Redact(where), q))
	case err != nil:
		return q, failure(KindHTTP, "redirect: %q %v", printable(Redact(where), q), err)
	}
	next := request{target: Target{&handle{t}}, user: user, first: &first}
	if t.scheme != httpID && t.scheme != httpsID {
		return q, failure(KindHTTP, "redirect to %s, want http or https", printable(next.target.String(), q))
	}
	for _, from := range []request{q, first} {
		if next.user == nil && from.target.sharesCredentials(t) {
			next.user = from.user
		}
	}
	return next, nil
}

// sharesCredentials reports whether what t authenticates with may go to other:
// the same scheme, host and port, or the same host's default ports on the way
// from HTTP up to HTTPS.
func (t *target) sharesCredentials(other *target) bool {
	if t.hostname() != other.hostname() {
		return false
	}
	up := t.scheme == httpID && t.port == 80 && other.scheme == httpsID && other.port == 443
	return up || t.scheme == other.scheme && t.port == other.port
}

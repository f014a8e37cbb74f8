package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// maxRedirects is how many redirects an attempt follows.
const maxRedirects = 5

// measureHTTP makes one attempt at an http:// or https:// target: a request on
// a fresh connection, and one more for every redirect. It is written on the
// connection itself: a http.Transport costs twice the CPU and six times the
// memory, for reuse that a probe must not have, and calls what it cannot parse
// an error.
func (p *Prober) measureHTTP(ctx context.Context, t Target, rules *Rules, a attempt) error {
	first := request{target: t, user: t.userinfo()}
	method := http.MethodHead
	if rules.needBody() || p.headless.has(t) {
		method = http.MethodGet
	}
	var jar cookies
	hop := first
	for redirects := 0; ; {
		r, err := p.exchange(ctx, method, hop, jar, a)
		if method == http.MethodHead && (err == nil && rules.refusesHead(r.status) || isUnanswered(err)) {
			// The same hop again; from here on it stays with GET.
			if err == nil {
				r.close()
			}
			method = http.MethodGet
			continue
		}
		if err != nil {
			return err
		}
		if r.location == "" {
			err = rules.judge(r, method, hop, redirects, a)
			r.close()
			if err == nil && method == http.MethodGet && !rules.needBody() {
				p.headless.add(t)
			}
			return err
		}
		next, lines := r.location, r.cookies
		r.close()
		if redirects++; redirects > maxRedirects {
			return failure(KindHTTP, "more than %d redirects", maxRedirects)
		}
		if len(lines) > 0 {
			jar = jar.set(lines, visitOf(hop))
		}
		if hop, err = hop.redirect(next, first); err != nil {
			return err
		}
	}
}

// needBody reports whether the rules look at the body.
func (rules *Rules) needBody() bool { return rules.HealthyMatch != "" || rules.DeadMatch != "" }

// refusesHead reports whether an answer to HEAD with that status is asked again
// with GET: servers answer HEAD with about any error where GET is fine. Where
// asking twice does harm (it counts as a failed login, or against a limit), it
// is the answer.
func (rules *Rules) refusesHead(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && !rules.healthyStatus(status)
}

// isUnanswered reports whether err is that the connection was closed instead
// of an answer.
func isUnanswered(err error) bool {
	_, ok := errors.AsType[unansweredError](err)
	return ok
}

func (rules *Rules) healthyStatus(status int) bool {
	return rules.HealthyAbove <= status && status < rules.HealthyBelow
}

// judge returns nil if the answer r to method is one of a replica that is up.
func (rules *Rules) judge(r *response, method string, hop request, redirects int, a attempt) error {
	if !rules.healthyStatus(r.status) {
		at := ""
		if redirects > 0 {
			at = " at " + printable(hop.target.String(), hop)
		}
		return failure(KindStatus, "status %d%s, want %d to %d", r.status, at, rules.HealthyAbove, rules.HealthyBelow-1)
	}
	if !rules.needBody() {
		return nil
	}
	switch name := r.codings.unknown; {
	case name == "":
	case rules.HealthyMatch != "":
		return failure(KindBody, `body has the encoding "%s", in which healthy_match cannot be found`, printable(name, hop))
	default:
		a.note(fmt.Sprintf(`body has the encoding "%s", in which dead_match cannot be found`, printable(name, hop)))
		return nil
	}
	body, release := r.codings.decoded(r.body(method, r.reader))
	defer release()
	defer a.searched(time.Now())
	return rules.search(body, a)
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
		return q, failure(KindHTTP, "redirect: URL of more than %d bytes", maxLocation)
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

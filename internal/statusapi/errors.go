package statusapi

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"
)

// Errors by which the API answers a report. The caller branches on their meaning; the
// status is in the text, for the operator.
var (
	// ErrUnauthorized is the answer 401: the API does not accept the token.
	ErrUnauthorized = errors.New("the Status API does not accept the token (status 401)")

	// ErrUnknownReplica is the answer 404 to a report: the map in hand is not
	// the one that the API has.
	ErrUnknownReplica = errors.New("the Status API does not know the replica (status 404)")

	// ErrWebPage comes with a report that was taken: the answer was 2xx, but
	// its body is a web page, which a captive portal would send.
	ErrWebPage = errors.New("the answer to a report is a web page (text/html): is it a captive portal that answers?")
)

// RejectedError is an answer by which the API rejects this request, and would
// again: a redirect, or a client error that has no meaning of its own.
type RejectedError struct{ status int }

func (e *RejectedError) Error() string {
	if e.status/100 == 3 {
		return statusText(e.status) + ": redirects are not followed"
	}
	return statusText(e.status)
}

// UnavailableError is an answer by which the API takes no request for now: 429,
// or a server error.
type UnavailableError struct {
	RetryAfter time.Duration // the wait that the API asks for; 0 if it asks for none
	Throttled  bool          // it was 429: too many requests

	status int
}

func (e *UnavailableError) Error() string { return statusText(e.status) }

// statusText returns a status as an operator reads it.
func statusText(status int) string {
	text := "status " + strconv.Itoa(status)
	if name := http.StatusText(status); name != "" {
		text += " (" + name + ")"
	}
	return text
}

// answerError returns the meaning of an answer that is no success.
func answerError(resp *http.Response) error {
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case status == http.StatusTooManyRequests, status >= 500:
		return &UnavailableError{RetryAfter: retryAfter(resp), Throttled: status == http.StatusTooManyRequests, status: status}
	default:
		return &RejectedError{status}
	}
}

// retryAfter returns the Retry-After of resp (RFC 9110, 10.2.3); 0 if it has none or
// is no 429 or 503. The caller decides how far it is obeyed.
func retryAfter(resp *http.Response) time.Duration {
	if resp == nil || resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	text := resp.Header.Get("Retry-After")
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, math.MaxInt64/uint64(time.Second))) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}

// DisconnectedError is the end of a connection before the answer, by the other side: so the
// network to it works. A connection that was refused is none: a firewall of this host may
// have done that.
type DisconnectedError struct{ Reason string }

// Error returns the reason.
func (e *DisconnectedError) Error() string { return e.Reason }

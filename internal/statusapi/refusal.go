package statusapi

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Refusal is an answer by which the API did not take what it was sent.
type Refusal struct {
	status int
	hold   time.Duration
}

// refused returns the Refusal that resp is.
func refused(resp *http.Response, interval time.Duration) *Refusal {
	return &Refusal{status: resp.StatusCode, hold: retryAfter(resp, interval)}
}

func (r *Refusal) Error() string {
	text := "status " + strconv.Itoa(r.status)
	if name := http.StatusText(r.status); name != "" {
		text += " (" + name + ")"
	}
	if r.status/100 == 3 {
		text += ": redirects are not followed"
	}
	return text
}

// Is makes a 401 match ErrUnauthorized.
func (r *Refusal) Is(target error) bool {
	return target == ErrUnauthorized && r.status == http.StatusUnauthorized
}

// Status returns the HTTP status.
func (r *Refusal) Status() int { return r.status }

// RetryAfter returns how long the API wants to be left alone; 0 if it does not
// say.
func (r *Refusal) RetryAfter() time.Duration { return r.hold }

// retryAfter returns what resp says in Retry-After (RFC 9110, 10.2.3), at most
// the interval and a minute; 0 if it says nothing or is no 429 or 503.
func retryAfter(resp *http.Response, interval time.Duration) time.Duration {
	if resp == nil || resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	text := resp.Header.Get("Retry-After")
	var hold time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) {
		hold = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(text); err == nil {
		hold = time.Until(date)
	}
	return max(0, min(hold, interval, maxRetryAfter))
}

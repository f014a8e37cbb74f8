package statusapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// bodyTime bounds the reading of the body of a report's answer, after which its
// connection can be used again.
const bodyTime = time.Second

// muteFor is how long a connection may answer nothing at all until it is left with a
// report that was given up, as long as the outbox waits for a status line.
const muteFor = 5 * time.Second

// Report delivers v with the promise that the next report of the replica comes
// within interval. It returns with the status line of the answer: nil, or
// ErrWebPage, when the report was taken; ErrUnauthorized, ErrUnknownReplica, a
// *RejectedError or an *UnavailableError when it was not; any other error when
// there was no answer. The body of the answer is read in the background; Close waits
// for it.
func (c *Client) Report(ctx context.Context, v Verdict, interval time.Duration) error {
	return c.report(ctx, v, interval, false)
}

// ReportAfresh does as Report over a connection that no request has used, and that none
// will use. Over HTTP/2, where one connection carries all requests, two a second do; others
// are Reports. If one of the two is taken, the connections that are idle are left.
func (c *Client) ReportAfresh(ctx context.Context, v Verdict, interval time.Duration) error {
	return c.report(ctx, v, interval, true)
}

func (c *Client) report(ctx context.Context, v Verdict, interval time.Duration, afresh bool) error {
	body, err := encodeReport(v, interval)
	if err != nil {
		return err
	}
	// The body is read after the caller may have cancelled ctx.
	request, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	stop := context.AfterFunc(ctx, cancel)
	address := c.endpoint + "/report/" + escape(v.ID.Service) + "/" + escape(v.ID.Node)
	req, err := http.NewRequestWithContext(request, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		stop()
		cancel()
		return fmt.Errorf("reporting to %s: %w", c.endpoint, c.quoted(err))
	}
	c.authorize(req)
	req.Header.Set("Content-Type", "application/json")
	// A report is idempotent, so the transport may repeat at once a request that the
	// server dropped with an idle connection. The empty key tells the transport so
	// and is not sent.
	req.Header["Idempotency-Key"] = []string{}

	var used net.Conn
	req = req.WithContext(httptrace.WithClientTrace(request, &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { used = got.Conn },
	}))
	lane, client := c.lanes.enter(c.http, afresh)
	began := time.Now()
	resp, err := client.Do(req)
	mute := c.lanes.leave(lane, began, resp)
	stop()
	timedOut := c.noteTimeout(err)
	if mute && used != nil && (timedOut || time.Since(began) >= c.muteFor) {
		abandon(used)
	}
	if err != nil {
		cancel()
		return c.translate(err)
	}
	c.readBody(resp, cancel)
	if lane.apart && resp.StatusCode/100 == 2 {
		c.closeIdle() // they may lead to a server that takes none
	}
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return ErrUnknownReplica
	case resp.StatusCode/100 != 2:
		return answerError(resp)
	case strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "text/html"):
		return ErrWebPage
	}
	return nil
}

// abandon closes an HTTP/2 connection over which no report was answered for as long as one
// was waited for: what is behind it may have gone, while a new one would lead to where
// answers come from. (One of HTTP/1.1 is closed by the time that its request has failed.)
func abandon(used net.Conn) {
	if over, ok := used.(*tls.Conn); ok {
		used = over.NetConn() // without a farewell, which may have to wait
	}
	used.Close()
}

// readBody reads the body of an answer to its end in the background, so that the
// connection can be used again, for bodyTime at most. It calls cancel in the end.
func (c *Client) readBody(resp *http.Response, cancel context.CancelFunc) {
	if resp.Body == http.NoBody || resp.ContentLength == 0 {
		resp.Body.Close()
		cancel()
		return
	}
	c.mu.Lock()
	c.bodies++
	c.mu.Unlock()
	go func() {
		limit := time.AfterFunc(bodyTime, cancel)
		io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
		limit.Stop()
		resp.Body.Close()
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.bodies--
		c.bodyRead.Broadcast()
	}()
}

// escape returns id as one segment of a path. Segments of dots alone are
// escaped too, or servers would walk up the path (RFC 3986, 5.2.4).
func escape(id string) string {
	if strings.Trim(id, ".") == "" {
		return strings.ReplaceAll(id, ".", "%2E")
	}
	return url.PathEscape(id)
}

// encodeReport returns the body of a report.
func encodeReport(v Verdict, interval time.Duration) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // the id goes back as it came, & and all
	err := e.Encode(struct {
		ReplicaID string       `json:"replica_id"`
		Health    probe.Health `json:"health"`
		Interval  int          `json:"interval"`
	}{v.ID.Replica, v.Health, int(interval / time.Second)})
	if err != nil {
		return nil, fmt.Errorf("encoding a report: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

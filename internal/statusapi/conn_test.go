package statusapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// TestAReportThatIsGivenUpIsTakenBack: the kernel keeps nothing of it that it would
// send later. A connection that is idle is closed in peace.
func TestAReportThatIsGivenUpIsTakenBack(t *testing.T) {
	asked, end := make(chan bool), make(chan error)
	endpoint := serve(t, func(n int, conn net.Conn) {
		in := bufio.NewReader(conn)
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		if n == 1 {
			asked <- true
		} else {
			io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		}
		_, err = in.ReadByte()
		end <- err
	})
	c := New(endpoint, testToken, testAgent, paced(time.Minute))
	defer c.Close()
	ctx, giveUp := context.WithCancel(t.Context())
	go func() { <-asked; giveUp() }()
	r := verdict("s", "n", "tcp://a:1", probe.Dead)
	if err := c.Report(ctx, r, time.Minute); !errors.Is(err, context.Canceled) {
		t.Fatalf("a report that was given up: got %v, want %v", err, context.Canceled)
	}
	if err := <-end; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("its connection ended with %v, want %v", err, syscall.ECONNRESET)
	}
	if err := c.Report(t.Context(), r, time.Minute); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-end; err != io.EOF {
		t.Errorf("an idle connection ended with %v, want %v", err, io.EOF)
	}
}

package service

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	askTimeout   = 15 * time.Second // for a whole answer: of 100,000 replicas it has 100 MB
	maxStateSize = 512 << 20        // bytes of an answer
	maxAskError  = 4 << 10          // bytes of what is said in place of one
	maxHead      = 64 << 10         // bytes of the head of an answer
)

// Errors of Ask that say what to do next.
var (
	ErrNoDaemon     = errors.New("no daemon runs with it here")
	ErrOtherVersion = errors.New("the daemon that runs with it does not answer as this version does: restart it")
)

// Peer is the process that answered.
type Peer struct {
	PID int
	UID int
	GID int
}

// MayRead reports whether the mode of the file at path lets p read it, as far as that can
// be known: a process that may not is no daemon that runs with that file.
func (p Peer) MayRead(path string) bool {
	info, err := os.Stat(path)
	if err != nil || p.UID == 0 {
		return true
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch mode := info.Mode().Perm(); {
	case !ok || mode&0o004 != 0 || int64(owner.Uid) == int64(p.UID):
		return true
	case mode&0o040 == 0:
		return false
	case int64(owner.Gid) == int64(p.GID):
		return true
	}
	u, err := user.LookupId(strconv.Itoa(p.UID))
	if err != nil {
		return false
	}
	groups, err := u.GroupIds()
	return err != nil || slices.Contains(groups, strconv.FormatUint(uint64(owner.Gid), 10))
}

// Ask requests uri, as of an HTTP server, from the daemon that runs with the
// configuration file at path, and returns the body of its answer. The file need
// not exist.
//
// The daemon answers its own user and root. Root may ask the daemon of any user,
// and learns whose it is: an abstract name belongs to whoever was first, so what
// comes from another user is for display alone.
func Ask(ctx context.Context, path, uri string) ([]byte, Peer, error) {
	body, peer, err := ask(ctx, path, uri)
	switch {
	case err == nil:
		return body, peer, nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("no answer within %v", askTimeout)
	}
	return nil, peer, fmt.Errorf("asking the daemon of %s: %w", path, err)
}

func ask(ctx context.Context, path, uri string) ([]byte, Peer, error) {
	address, err := healthAddress(path)
	if err != nil {
		return nil, Peer{}, err
	}
	conn, err := dial(address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, Peer{}, ErrNoDaemon
	}
	if err != nil {
		return nil, Peer{}, err
	}
	defer conn.Close()
	p, err := peer(conn)
	if err != nil {
		return nil, Peer{}, err
	}
	whose := Peer{int(p.Pid), int(p.Uid), int(p.Gid)}
	if !mayAsk(p, os.Geteuid()) {
		return nil, whose, fmt.Errorf("what runs with it is process %d of uid %d, want one of uid %d or root, in the same container (ask as that user, or as root)", p.Pid, p.Uid, os.Geteuid())
	}
	conn.SetDeadline(time.Now().Add(askTimeout))
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+uri, nil)
	if err != nil {
		return nil, whose, err
	}
	req.Close = true
	req.Header.Set("Accept", "application/json")
	// A daemon that reads no request says all the same what it is.
	if err := req.Write(conn); err != nil && !errors.Is(err, syscall.EPIPE) {
		return nil, whose, err
	}
	body, err := readAnswer(conn, req)
	return body, whose, err
}

// mayAsk reports whether a process of user uid asks p: as trusted does, but root
// asks everybody.
func mayAsk(p *syscall.Ucred, uid int) bool {
	return trusted(p) || p.Pid != 0 && uid == 0
}

// readAnswer returns the body of the answer to req. Whoever has taken the daemon's name may
// answer anything, and an error must not repeat much of it.
func readAnswer(conn io.Reader, req *http.Request) ([]byte, error) {
	const protocol = "HTTP/"
	bound := &io.LimitedReader{R: conn, N: maxHead}
	r := bufio.NewReaderSize(bound, maxHead)
	begin, err := r.Peek(len(protocol))
	switch {
	case len(begin) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return nil, errors.New("it closed the connection without an answer: it answers its own user and root alone")
	case !strings.HasPrefix(protocol, string(begin)):
		return nil, ErrOtherVersion
	case err != nil:
		return nil, err
	}
	resp, err := http.ReadResponse(r, req)
	switch {
	case err != nil && bound.N <= 0:
		return nil, fmt.Errorf("an answer with a head of over %d KiB", maxHead>>10)
	case err != nil && len(err.Error()) > maxAskError:
		return nil, ErrOtherVersion
	case err != nil:
		return nil, err
	}
	defer resp.Body.Close()
	bound.N = math.MaxInt64
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, ErrOtherVersion
	default:
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAskError))
		return nil, fmt.Errorf("it answers with status %d: %q", resp.StatusCode, strings.TrimSpace(string(text)))
	}
	var body bytes.Buffer
	if resp.ContentLength > 0 {
		body.Grow(int(min(resp.ContentLength, maxStateSize)) + bytes.MinRead)
	}
	if n, err := body.ReadFrom(io.LimitReader(resp.Body, maxStateSize+1)); err != nil || n > maxStateSize {
		return nil, errors.Join(err, tooLarge(n))
	}
	return body.Bytes(), nil
}

// tooLarge returns the error of an answer of n bytes, nil if so many may be.
func tooLarge(n int64) error {
	if n <= maxStateSize {
		return nil
	}
	return fmt.Errorf("an answer of over %d MiB", maxStateSize>>20)
}

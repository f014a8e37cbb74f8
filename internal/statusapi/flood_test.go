package statusapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The types of frames of HTTP/2 (RFC 9113, 6).
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePush         = 5
	framePing         = 6
	frameGoAway       = 7
	frameWindow       = 8
	frameContinuation = 9
	frameOfTheFuture  = 99
)

// The size of a flood, and what may be held of it at any time and after it, in bytes.
const (
	floodSize = 24 << 20
	mostHeld  = 16 << 20
)

// TestFloodsOfHTTP2CostNoMemory: whatever frames an API sends for an answer, the
// request ends, and what they took is little, and given back.
func TestFloodsOfHTTP2CostNoMemory(t *testing.T) {
	header := "\x00\x01x\x7f\x00" + strings.Repeat("y", 127) // a literal without an index, of HPACK
	ok := frame(frameHeaders, 4, 1, "\x88\x5f\x10application/json")
	for name, flood := range map[string]struct{ first, again string }{
		"settings":                 {"", frame(frameSettings, 0, 0, "\x00\x04\x00\x00\xff\xff")},
		"pings":                    {"", frame(framePing, 0, 0, "12345678")},
		"resets":                   {"", frame(frameReset, 0, 1, "\x00\x00\x00\x08")},
		"resets of other streams":  {"", frame(frameReset, 0, 99999, "\x00\x00\x00\x08")},
		"windows":                  {"", frame(frameWindow, 0, 0, "\x00\x00\x00\x01")},
		"pushes":                   {"", frame(framePush, 4, 1, "\x00\x00\x00\x02\x82")},
		"continuations":            {frame(frameHeaders, 0, 1, "\x88"), frame(frameContinuation, 0, 1, strings.Repeat(header, 100))},
		"empty continuations":      {frame(frameHeaders, 0, 1, "\x88"), frame(frameContinuation, 0, 1, "")},
		"heads":                    {"", frame(frameHeaders, 4, 1, "\x88")},
		"interim answers":          {"", frame(frameHeaders, 4, 1, "\x08\x03103")},
		"data":                     {ok, frame(frameData, 0, 1, strings.Repeat(" ", 16000))},
		"empty data":               {ok, frame(frameData, 0, 1, "")},
		"padding":                  {ok, frame(frameData, 8, 1, "\xff"+strings.Repeat("\x00", 255))},
		"unknown frames":           {"", frame(frameOfTheFuture, 0, 0, strings.Repeat("x", 16000))},
		"goodbyes":                 {"", frame(frameGoAway, 0, 0, "\x7f\xff\xff\xff\x00\x00\x00\x00")},
		"a frame that is too long": {"\xff\xff\xff\x00\x00\x00\x00\x00\x01", strings.Repeat("x", 16000)},
	} {
		t.Run(name, func(t *testing.T) {
			// Only for its certificate, and what its client trusts.
			https := httptest.NewTLSServer(http.NotFoundHandler())
			defer https.Close()
			roots := x509.NewCertPool()
			roots.AddCert(https.Certificate())
			var most atomic.Uint64
			endpoint := serve(t, func(_ int, conn net.Conn) {
				secure := tls.Server(conn, &tls.Config{Certificates: https.TLS.Certificates, NextProtos: []string{"h2"}})
				floodBy(secure, flood.first, flood.again, func() { most.Store(max(most.Load(), held())) })
			})
			c := New("https"+strings.TrimPrefix(endpoint, "http"), testToken, testAgent, paced(10*time.Millisecond))
			c.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
			before := held()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if m, err := c.FetchMap(ctx, nil); err == nil {
				t.Errorf("got the map %v, want an error", m)
			}
			c.http.Transport.(*http.Transport).CloseIdleConnections()
			c.Close()
			if after := held(); max(after, most.Load()) > before+mostHeld {
				t.Errorf("%d KiB are held in the flood and %d after it, %d before", most.Load()>>10, after>>10, before>>10)
			}
		})
	}
}

// held returns what memory is in use, in bytes.
func held() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// floodBy waits for a request, answers it by first, and then sends again and again, until
// floodSize, the client has had enough, or two seconds. It calls look now and then.
func floodBy(conn net.Conn, first, again string, look func()) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Second)) // each ping or setting costs an answer
	if _, err := io.ReadFull(conn, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	if _, err := io.WriteString(conn, frame(frameSettings, 0, 0, "")); err != nil {
		return
	}
	for head := make([]byte, 9); head[3] != frameHeaders; {
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, conn, int64(head[0])<<16|int64(head[1])<<8|int64(head[2]))
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	defer conn.Close()
	reading.Go(func() { _, _ = io.Copy(io.Discard, conn) })
	if _, err := io.WriteString(conn, first); err != nil {
		return
	}
	chunk := strings.Repeat(again, max(1, 16000/len(again)))
	for sent := 0; sent < floodSize; sent += len(chunk) {
		if _, err := io.WriteString(conn, chunk); err != nil {
			return
		}
		if before := sent / (floodSize / 8); (sent+len(chunk))/(floodSize/8) > before {
			look()
		}
	}
}

// frame returns a frame of HTTP/2 (RFC 9113, 4.1).
func frame(kind, flags byte, stream uint32, payload string) string {
	n := len(payload)
	head := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	return string(binary.BigEndian.AppendUint32(head, stream)) + payload
}

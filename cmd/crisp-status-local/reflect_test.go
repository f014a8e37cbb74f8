package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	wire "encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Secrets of the tests in this file, with characters that encodings escape.
const (
	oddToken    = `t0k^en%w"with\odd+char&<s>` + "\u00e4/="
	oddProxy    = `pr0xy^pa%ss"w:ord`
	oddPassword = `t4rget^pa%41ss"w\ord ` + "\u00fc"
)

// reflections are answers with a place, %s, for what they reflect.
var reflections = []string{
	"HTTP/1.1 503 %s\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 %s\r\n\r\n",
	"%s\r\n\r\n",
	"HTTP/%s 200 OK\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\n%s\r\n\r\n",
	"HTTP/1.1 200 OK\r\n%s: x\r\n\r\n",
	"HTTP/1.1 200 OK\r\nX: \x00%s\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
	"HTTP/1.1 302 Found\r\nLocation: /%s\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 302 Found\r\nLocation: http://[%s/\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 302 Found\r\nLocation: gopher://localhost/%s\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n%s",
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2;%s\r\n{}\r\n0\r\n%s\r\n\r\n",
}

// written returns secret as servers may write it.
func written(secret string) []string {
	escaped := func(format string) string {
		var b strings.Builder
		for i := range len(secret) {
			fmt.Fprintf(&b, format, secret[i])
		}
		return b.String()
	}
	inJSON, _ := json.Marshal(secret)
	quoted := func(text string) string { return text[1 : len(text)-1] }
	words := []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), escaped("%%%02X"), escaped("%%%02x"), escaped("=%02X"), escaped(`\x%02x`),
		quoted(string(inJSON)), quoted(strconv.Quote(secret)), quoted(strconv.QuoteToASCII(secret)), hex.EncodeToString([]byte(secret)), html.EscapeString(secret),
	}
	for offset := range 3 {
		b := []byte(strings.Repeat("x", offset) + secret)
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := encoding.EncodeToString(b)
			words = append(words, text[(8*offset+5)/6:8*len(b)/6]) // what depends on the secret alone
		}
	}
	return words
}

// reflector answers requests with what they hold, at one place after another.
type reflector struct {
	secrets []string
	n       atomic.Int64 // answers that reflect
}

// answer returns the next answer to a request.
func (r *reflector) answer(template string, req *http.Request) string {
	words := []string{req.Header.Get("Authorization"), req.Header.Get("Proxy-Authorization")}
	for _, secret := range r.secrets {
		words = append(words, written(secret)...)
	}
	word := words[int(r.n.Add(1))%len(words)]
	return strings.ReplaceAll(template, "%s", strings.NewReplacer("\r", " ", "\n", " ").Replace(word))
}

// api is a Status API, or a proxy that leads to one, which reflects: its first
// map is one of targets, every other report is taken.
func (r *reflector) api(t *testing.T, targets func() []string) (address string) {
	var maps, reports, connects atomic.Int64
	return listen(t, nil, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			n := int64(0)
			switch {
			case req.Method == http.MethodConnect:
				n = connects.Add(1) - 1
			case req.Method == http.MethodPost:
				n = reports.Add(1)
				if n%2 == 0 { // taken, and then it says more
					io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n"+r.answer("%s", req))
					continue
				}
				n /= 2
			default:
				if n = maps.Add(1) - 1; n == 0 {
					list, _ := json.Marshal(targets())
					body := fmt.Sprintf(`{"data":{"metrics":{"local":{"retry":0,"delay_dead":1}},"services":[{"id":"s","nodes":[{"id":"n","replicas":%s}]}]}}`, list)
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
					continue
				}
			}
			io.WriteString(conn, r.answer(reflections[int(n)%len(reflections)], req))
			return
		}
	})
}

// target is a replica that reflects at one place; whoever follows it somewhere
// finds nothing there.
func (r *reflector) target(t *testing.T, template string) (address string) {
	return listen(t, nil, func(conn net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		if req.URL.Path != "/" {
			template = "HTTP/1.1 404 %s\r\n\r\n"
		}
		io.WriteString(conn, r.answer(template, req))
	})
}

// listen serves every connection with f, over TLS if config is not nil.
func listen(t *testing.T, config *tls.Config, f func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				stop := context.AfterFunc(t.Context(), func() { conn.Close() })
				defer stop()
				if config != nil {
					conn = tls.Server(conn, config)
				}
				f(conn)
			})
		}
	})
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	return listener.Addr().String()
}

// runDaemon runs the daemon at debug level until ok, and returns all it wrote.
func runDaemon(t *testing.T, endpoint string, env []string, what string, ok func(out string) bool) string {
	t.Helper()
	if binary == "" {
		t.Skip("there is no Go toolchain to build the daemon with")
	}
	path := filepath.Join(t.TempDir(), "config.cfg")
	text := fmt.Sprintf("[server]\nlog_level = \"debug\"\n[report]\nendpoint = %q\ntoken = %q\n[probe]\ninterval = 1\n", endpoint, oddToken)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := new(output)
	cmd := exec.Command(binary, "-c", path)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * patience)
	for !ok(out.String()) && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v, want exit status 0", err)
	}
	if !ok(out.String()) {
		t.Errorf("never came: %s; the daemon wrote\n%s", what, out)
	}
	return out.String()
}

// wantNone checks that out shows none of secrets, however it is written.
func wantNone(t *testing.T, out string, secrets ...string) {
	t.Helper()
	once := strings.NewReplacer(`\\`, `\`, `\"`, `"`)
	texts := []string{out, once.Replace(out), once.Replace(once.Replace(out))}
	for _, secret := range secrets {
		for _, word := range written(secret) {
			for _, text := range texts {
				if i := strings.Index(strings.ToLower(text), strings.ToLower(word)); i >= 0 {
					line := text[strings.LastIndexByte(text[:i], '\n')+1:]
					line, _, _ = strings.Cut(line, "\n")
					t.Errorf("the daemon shows %q as %q in the line\n%s", secret, word, line)
					break
				}
			}
		}
	}
	for i, line := range strings.Split(out, "\n") {
		if line != "" && !strings.HasPrefix(line, "time=") {
			t.Errorf("line %d of what the daemon wrote is %q, want one of its log", i+1, line)
		}
	}
}

func TestWhatAPIAndTargetsReflectIsNotPrinted(t *testing.T) {
	t.Parallel()
	api, replicas := &reflector{secrets: []string{oddToken}}, &reflector{secrets: []string{oddPassword}}
	var targets []string
	for _, template := range reflections {
		u := url.URL{Scheme: "http", Host: replicas.target(t, template), User: url.UserPassword("admin", oddPassword), Path: "/"}
		targets = append(targets, u.String())
	}
	certificate, _ := certify(t, oddPassword[:20])
	foreign := listen(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, func(conn net.Conn) { conn.(*tls.Conn).Handshake() })
	_, port, _ := net.SplitHostPort(foreign)
	targets = append(targets, (&url.URL{Scheme: "https", Host: "localhost:" + port, User: url.UserPassword("admin", oddPassword[:20])}).String())

	out := runDaemon(t, "http://"+api.api(t, func() []string { return targets }), nil, "every reflection", func(out string) bool {
		return api.n.Load() > 150 && replicas.n.Load() > 150 && strings.Contains(out, "Unsolicited response") &&
			strings.Contains(out, "certificate is valid for") && strings.Contains(out, "fetching the map from")
	})
	wantNone(t, out, oddToken, oddPassword, oddPassword[:20])
	for _, word := range []string{"malformed HTTP response", "malformed MIME header", "status 503", "status 404 at", "answer is not HTTP", "***"} {
		if !strings.Contains(out, word) {
			t.Errorf("the daemon never wrote %q, want it to say what it met", word)
		}
	}
}

func TestWhatAProxyReflectsIsNotPrinted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ scheme, variable, says string }{
		{"http", "HTTP_PROXY", "malformed"},
		{"https", "HTTPS_PROXY", "the proxy 127.0.0.1"},
	} {
		t.Run(tt.scheme, func(t *testing.T) {
			t.Parallel()
			proxy := &reflector{secrets: []string{oddToken, oddProxy}}
			address := proxy.api(t, func() []string { return []string{"tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3"} })
			env := []string{tt.variable + "=http://us^er:" + oddProxy + "@" + address}
			out := runDaemon(t, tt.scheme+"://status.invalid/v1", env, "every reflection", func(out string) bool {
				return proxy.n.Load() > 20 && strings.Contains(out, tt.says)
			})
			wantNone(t, out, oddToken, oddProxy)
		})
	}
}

func TestWhatHTTP2ReflectsIsNotPrinted(t *testing.T) {
	t.Parallel()
	certificate, authority := certify(t, "localhost")
	var closed atomic.Int64
	words := written(oddToken)
	address := listen(t, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}, func(conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
			return
		}
		const settings, goAway, internalError = 4, 7, 2
		conn.Write(frame(settings, nil))
		for head := make([]byte, 9); ; { // its settings and window first, then the request
			if _, err := io.ReadFull(conn, head); err != nil {
				return
			}
			io.CopyN(io.Discard, conn, int64(head[0])<<16|int64(head[1])<<8|int64(head[2]))
			if head[3] == 1 {
				break
			}
		}
		debug := bigEndian(1, internalError)
		conn.Write(frame(goAway, append(debug, "seen: "+words[int(closed.Add(1))%len(words)]...)))
	})
	_, port, _ := net.SplitHostPort(address)
	out := runDaemon(t, "https://localhost:"+port, []string{"SSL_CERT_FILE=" + authority, "GODEBUG=http2debug=2"}, "GOAWAY", func(out string) bool {
		return closed.Load() > 6 && strings.Contains(out, "GOAWAY") && strings.Contains(out, "fetching the map from")
	})
	wantNone(t, out, oddToken)
}

// frame returns a frame of HTTP/2 for the connection (RFC 9113, 4.1).
func frame(kind byte, payload []byte) []byte {
	n := len(payload)
	return append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, 0, 0, 0, 0, 0}, payload...)
}

// bigEndian returns numbers of 32 bits as they go over the wire.
func bigEndian(numbers ...uint32) []byte {
	var b []byte
	for _, n := range numbers {
		b = wire.BigEndian.AppendUint32(b, n)
	}
	return b
}

// certify returns a certificate of name, signed by itself, and the file of it.
func certify(t *testing.T, name string) (certificate tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

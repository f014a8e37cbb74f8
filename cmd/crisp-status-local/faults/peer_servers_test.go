//go:build faults

package faults

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

var mariadb = peer{
	name: "MariaDB", program: "mariadbd", replicas: spread(30, "tcp://%s:3306"), noise: `(?i)aborted connection|\[error\]`,
	start: func(l *lab, dir string) {
		data, log := filepath.Join(dir, "data"), filepath.Join(dir, "log")
		run(l.t, "mariadb-install-db", "--no-defaults", "--user=mysql", "--datadir="+data, "--tmpdir="+dir, "--auth-root-authentication-method=normal", "--skip-test-db")
		serveBy(l.t, log, "3306", "mariadbd", "--no-defaults", "--user=mysql", "--datadir="+data, "--socket="+filepath.Join(dir, "socket"), "--pid-file="+filepath.Join(dir, "pid"),
			"--tmpdir="+dir, "--bind-address=0.0.0.0", "--performance-schema=ON", "--max-connect-errors=100", "--log-warnings=9", "--innodb-buffer-pool-size=8M")
		namespaces.Eventually(l.t, "MariaDB has its socket", func() bool { _, err := os.Stat(filepath.Join(dir, "socket")); return err == nil })
		query(l, dir, "CREATE USER visitor@'%' IDENTIFIED BY 'visits'")
	},
	check: func(l *lab, dir string) {
		const errors = "SELECT COALESCE(SUM(SUM_CONNECT_ERRORS), 0) FROM performance_schema.host_cache"
		if n, err := strconv.Atoi(query(l, dir, errors)); err != nil || n > tolerated {
			l.t.Errorf("MariaDB counts %d failed connections after %d probes, want 0, and %d at most: %v", n, probes, tolerated, err)
		}
		if out, err := login(l); err != nil {
			l.t.Errorf("a login from the daemon's host after %d probes: %v: %s", probes, err, out)
		}
		// And that this can fail: whoever connects and leaves is locked out.
		l.helper("connect", "10.9.1.110:3306", "150")()
		namespaces.Eventually(l.t, "MariaDB counts connections that leave", func() bool { n, _ := strconv.Atoi(query(l, dir, errors)); return n >= 100 })
		if out, err := login(l); err == nil || !strings.Contains(out, "blocked") {
			l.t.Errorf("a login after 150 connections that leave: got %q, want that the host is blocked", out)
		}
	},
}

func query(l *lab, dir, statement string) string {
	l.t.Helper()
	return strings.TrimSpace(run(l.t, "mariadb", "--no-defaults", "-u", "root", "-N", "-S", filepath.Join(dir, "socket"), "-e", statement))
}

// login logs in to MariaDB from the daemon's address.
func login(l *lab) (string, error) {
	out, err := exec.Command("nsenter", "-t", fmt.Sprint(l.wire.near), "-n", "mariadb", "--no-defaults", "-h", "10.9.1.110", "-u", "visitor", "-pvisits", "-e", "SELECT 1").CombinedOutput()
	return string(out), err
}

var postgresql = peer{
	name: "PostgreSQL", leave: "10.9.1.110:5432", program: "postgres", replicas: spread(30, "tcp://%s:5432"), noise: `ERROR|FATAL|connection received|startup packet|could not`,
	start: func(l *lab, dir string) {
		data := filepath.Join(dir, "data")
		run(l.t, "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", program("initdb"), "-D", data, "--no-sync")
		serveBy(l.t, filepath.Join(dir, "log"), "5432", "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", program("postgres"), "-D", data,
			"-c", "listen_addresses=*", "-c", "unix_socket_directories="+dir, "-c", "log_connections=on", "-c", "shared_buffers=1MB", "-c", "fsync=off")
	},
}

var redis = peer{
	name: "Redis", leave: "10.9.1.110:6379", program: "redis-server", replicas: spread(30, "tcp://%s:6379"), noise: `Accepted|closed connection|Error`,
	start: func(l *lab, dir string) {
		serveBy(l.t, filepath.Join(dir, "log"), "6379", "redis-server", "--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no", "--loglevel", "verbose", "--dir", dir, "--save", "")
	},
}

var nginx = peer{
	name: "nginx", leave: "10.9.1.110:8443", program: "nginx", noise: `\[(warn|error|crit|alert|emerg)\]|client|SSL`,
	replicas: append(spread(20, "tcp://%s:8443"), spread(20, "https://%s:8443/")...),
	start: func(l *lab, dir string) {
		certificate, key := l.keyPair(dir)
		log := filepath.Join(dir, "log")
		conf := write(l.t, filepath.Join(dir, "conf"), fmt.Sprintf("daemon off;\nuser root;\npid %[1]s/pid;\nerror_log %[2]s info;\nevents {}\nhttp {\n"+
			"client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;\naccess_log off;\n"+
			"server { listen 8443 ssl http2; ssl_certificate %[3]s; ssl_certificate_key %[4]s; location / { return 200 ok; } }\n}\n", dir, log, certificate, key), 0o644)
		serveBy(l.t, log, "8443", "nginx", "-c", conf, "-e", log)
	},
	check: func(l *lab, _ string) {
		pool := x509.NewCertPool()
		pool.AddCert(l.lan.authority.root)
		client := http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
		defer client.CloseIdleConnections()
		response, err := client.Get("https://10.9.1.110:8443/")
		if err != nil {
			l.t.Fatal(err)
		}
		response.Body.Close()
		if response.ProtoMajor != 2 {
			l.t.Errorf("nginx speaks %s where HTTP/2 is offered: the test is of another server", response.Proto)
		}
	},
}

var apache = peer{
	name: "Apache httpd", program: "apache2", noise: `:error\]|:warn\]|AH00566`,
	replicas: append(spread(20, "tcp://%s:8080"), spread(20, "http://%s:8080/")...),
	start: func(l *lab, dir string) {
		write(l.t, filepath.Join(dir, "index.html"), "ok", 0o644)
		log := filepath.Join(dir, "log")
		var modules strings.Builder
		for _, name := range []string{"mpm_event", "authz_core", "dir"} {
			fmt.Fprintf(&modules, "LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", name, name)
		}
		conf := write(l.t, filepath.Join(dir, "conf"), fmt.Sprintf("%[1]sServerName web\nDefaultRuntimeDir %[2]s\nServerRoot %[2]s\nPidFile %[2]s/pid\nListen 8080\nUser www-data\nGroup www-data\n"+
			"ErrorLog %[3]s\nLogLevel info\nDocumentRoot %[2]s\nDirectoryIndex index.html\n<Directory %[2]s>\nRequire all granted\n</Directory>\n", modules.String(), dir, log), 0o644)
		serveBy(l.t, log, "8080", "apache2", "-f", conf, "-DFOREGROUND")
	},
}

var haproxy = peer{
	name: "HAProxy", leave: "10.9.1.110:9000", program: "haproxy", noise: `WARNING|ALERT| (CD|SC|SD|CR|SR|PR)[ -]| l/web \S+ 0 `,
	replicas: append(spread(20, "tcp://%s:9000"), spread(20, "http://%s:9000/")...),
	start: func(l *lab, dir string) {
		conf := write(l.t, filepath.Join(dir, "conf"), "global\n log stdout format raw local0\ndefaults\n mode tcp\n log global\n option tcplog\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"+
			"listen l\n bind :9000\n server web 127.0.0.1:80\n", 0o644)
		serveBy(l.t, filepath.Join(dir, "log"), "9000", "haproxy", "-db", "-f", conf)
	},
}

var openssh = peer{
	name: "OpenSSH", leave: "10.9.1.110:2222", program: "sshd", replicas: spread(30, "tcp://%s:2222"), noise: `banner|[Cc]onnection|kex`,
	start: func(l *lab, dir string) {
		key := filepath.Join(dir, "key")
		run(l.t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			l.t.Fatal(err)
		}
		conf := write(l.t, filepath.Join(dir, "conf"), "Port 2222\nLogLevel VERBOSE\nPidFile none\nHostKey "+key+"\n", 0o644)
		serveBy(l.t, filepath.Join(dir, "log"), "2222", "sshd", "-D", "-e", "-f", conf)
	},
}

// encodePair writes a certificate and its key as PEM.
func encodePair(t *testing.T, certificate, key io.Writer, pair *tls.Certificate) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	_ = pem.Encode(certificate, &pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	_ = pem.Encode(key, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

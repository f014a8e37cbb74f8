//go:build install

package tests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestReadme pastes the steps that README gives for Debian into a fresh machine.
func TestReadme(t *testing.T) {
	t.Parallel()
	blocks := steps(t, "### Debian")
	m := bootForReadme(t)
	m.paste(blocks)
	m.active("after the steps of README")
	m.reportsAnew("after the steps of README")
	want(t, "the apt source of README", m.read("/etc/apt/sources.list.d/crisp-status-local.sources"), read(t, filepath.Join(repository(t), "crisp-status-local.sources")))
}

// TestReadmeOfTheTarball does so with what a release has for any other Linux.
func TestReadmeOfTheTarball(t *testing.T) {
	t.Parallel()
	blocks := steps(t, "### Any other Linux")
	m := bootForReadme(t)
	m.sh("cp " + lent(download(t)) + "/* /var/tmp")
	m.paste(blocks)
	m.active("after the steps of README")
	m.reportsAnew("after the steps of README")
	want(t, "mode and owner of the configuration", m.owned(configFile), private)
}

// bootForReadme boots a machine with a status page, to which the host that README
// names is one of its own.
func bootForReadme(t testing.TB) *machine {
	t.Helper()
	m := boot(t, "bookworm")
	m.statusAPI()
	m.sh("systemd-run --quiet --unit=pages --setenv=" + roleVariable + "=pages " + lent(testBinary(t)) + " " + lent(repository(t)))
	eventually(m, "the host that README names", func() string { return m.says("test -s " + pagesCert + " || echo no certificate yet") })
	m.sh("echo 127.0.0.1 " + pagesHost + " >>/etc/hosts; update-ca-certificates")
	// What a person does in the editor.
	m.write("/usr/local/bin/nano", `#!/bin/sh
sed -i -e 's|^token = .*|token = "`+token+`"|' -e 's|^#endpoint = .*|endpoint = "`+plainEndpoint+`"|' \
	-e 's|^#interval = .*|interval = 1|' -e 's|^#ca_file = |ca_file = |' "$1"
`)
	m.sh("chmod +x /usr/local/bin/nano")
	return m
}

// paste runs the blocks as root, line after line.
func (m *machine) paste(blocks []string) {
	m.Helper()
	for _, block := range blocks {
		m.write("/run/steps", strings.ReplaceAll(block, "_linux_amd64", "_linux_"+native))
		m.Logf("%s", m.sh("cd /var/tmp && bash -e /run/steps"))
	}
}

// download is a folder with what somebody downloads of a release for this machine.
func download(t testing.TB) string {
	t.Helper()
	repository(t) // and its key
	return value(t, pack)
}

var pack = sync.OnceValues(func() (string, error) {
	r, err := buildCurrent()
	if err != nil {
		return "", err
	}
	dir, err := newScratch("download")
	if err != nil {
		return "", err
	}
	defer stopAgent()
	_, err = runOnce(signing(), r.dir, "sh", "-ec", `
		dpkg-deb --fsys-tarfile "$0" | tar -xO ./usr/bin/crisp-status-local >"$1/binary"
		debian/release/tarball "$1/binary" "$1/$2"
		rm "$1/binary"
		cd "$1"
		sha256sum "$2" >SHA256SUMS
		echo "$(printf %064d 0)  not-downloaded" >>SHA256SUMS
		gpg --batch --local-user "$KEY" --armor --detach-sign SHA256SUMS`,
		r.deb(native), dir, fmt.Sprintf("crisp-status-local_%s_linux_%s.tar.gz", r.version, native))
	return dir, err
})

// steps are the shell commands in README below a heading that begins so, block by block.
func steps(t testing.TB, heading string) []string {
	t.Helper()
	_, section, found := strings.Cut(read(t, filepath.Join(top, "README.md")), "\n"+heading)
	if !found {
		t.Fatalf("README.md: heading %q is missing", heading)
	}
	section, _, _ = strings.Cut(section, "\n#")
	var blocks []string
	for {
		_, rest, found := strings.Cut(section, "\n```sh\n")
		if !found {
			break
		}
		block, rest, _ := strings.Cut(rest, "\n```\n")
		blocks, section = append(blocks, block+"\n"), rest
	}
	if len(blocks) == 0 {
		t.Fatalf("README.md: below %q are no commands in a block of sh", heading)
	}
	return blocks
}

const (
	pagesHost = "crisp-im.github.io"
	pagesCert = "/usr/local/share/ca-certificates/pages.crt"
)

func init() { roles["pages"] = servePages }

// servePages is the host on which the apt repository is published.
func servePages(args []string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: pagesHost}, // curl wants one
		DNSNames:              []string{pagesHost},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	server := http.Server{
		Addr:      "127.0.0.1:443",
		Handler:   http.StripPrefix("/crisp-status-local/", http.FileServer(http.Dir(args[0]))),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
	}
	if err := os.WriteFile(pagesCert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return fmt.Errorf("publishing the certificate: %w", err)
	}
	return server.ListenAndServeTLS("", "")
}

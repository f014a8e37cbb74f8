//go:build install

package tests

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// repository is an apt repository with this version and the next one, signed with
// a key that is thrown away, in a folder below scratch.
func repository(t testing.TB) string {
	t.Helper()
	packages(t)
	requireTools(t, "apt-ftparchive", "gpg", "xz")
	return value(t, buildRepository)
}

// signing is the environment of who signs for the tests.
func signing() []string {
	return []string{"GNUPGHOME=" + filepath.Join(scratch, "gnupg"), "KEY=nobody@example.org"}
}

// stopAgent ends what gpg leaves running.
func stopAgent() { _, _ = runOnce(signing(), top, "gpgconf", "--kill", "all") }

var buildRepository = sync.OnceValues(func() (string, error) {
	if err := os.Mkdir(filepath.Join(scratch, "gnupg"), 0o700); err != nil {
		return "", err
	}
	env := signing()
	defer stopAgent()
	if _, err := runOnce(env, top, "gpg", "--batch", "--passphrase", "", "--quick-gen-key", "Nobody <nobody@example.org>", "ed25519", "sign"); err != nil {
		return "", err
	}
	folder := filepath.Join(scratch, "apt")
	go buildNext() // beside the other
	for _, build := range []func() (release, error){buildCurrent, buildNext} {
		r, err := build()
		if err != nil {
			return "", err
		}
		if _, err := runOnce(env, r.dir, "debian/release/apt-repo", folder); err != nil {
			return "", err
		}
	}
	return folder, nil
})

// addRepository makes apt in the machine know the repository.
func (m *machine) addRepository() {
	m.Helper()
	folder := lent(repository(m))
	m.sh("cp " + folder + "/crisp-status-local.gpg /usr/share/keyrings/")
	m.write("/etc/apt/sources.list.d/crisp-status-local.sources", `Types: deb
URIs: file://`+folder+`
Suites: stable
Components: main
Signed-By: /usr/share/keyrings/crisp-status-local.gpg
`)
	m.sh("apt-get update")
}

//go:build install

package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// release is a tree of its own, with the packages that were built in it.
type release struct {
	dir     string // the tree; its packages are in dist/
	version string
}

// deb is the package for an architecture, below scratch.
func (r release) deb(arch string) string {
	return filepath.Join(r.dir, "dist", fmt.Sprintf("crisp-status-local_%s_%s.deb", r.version, arch))
}

// lent is where a machine finds a file that is below scratch.
func lent(path string) string { return "/lend" + strings.TrimPrefix(path, scratch) }

// packages is the tree as it is, with the package for this machine.
func packages(t testing.TB) release {
	t.Helper()
	requireTools(t, "dpkg-buildpackage", "dh", "go", "git")
	return value(t, buildCurrent)
}

var buildCurrent = sync.OnceValues(func() (release, error) {
	r, err := newRelease("current")
	if err != nil {
		return r, err
	}
	_, err = runOnce(nil, r.dir, "debian/release/deb", native)
	return r, err
})

// allPackages is packages with those for all architectures.
func allPackages(t testing.TB) release {
	t.Helper()
	packages(t)
	return value(t, buildAll)
}

var buildAll = sync.OnceValues(func() (release, error) {
	r, err := buildCurrent()
	if err != nil {
		return r, err
	}
	_, err = runOnce(nil, r.dir, "debian/release/deb", slices.DeleteFunc([]string{"amd64", "arm64"}, func(arch string) bool { return arch == native })...)
	return r, err
})

// upgraded is the version after that, whose sample differs, with the package for
// this machine.
func upgraded(t testing.TB) release {
	t.Helper()
	requireTools(t, "dpkg-buildpackage", "dh", "go", "git")
	return value(t, buildNext)
}

var buildNext = sync.OnceValues(func() (release, error) {
	r, err := newRelease("next")
	if err != nil {
		return r, err
	}
	before := r.version
	r.version = next(before)
	if _, err := runOnce(nil, r.dir, "sed", "-i", "s/"+regexp.QuoteMeta(before)+"/"+r.version+"/g", "cmd/crisp-status-local/main.go",
		"debian/crisp-status-local.8", "debian/crisp-status-local.cfg.5", "debian/kubernetes.yaml", "Dockerfile", "README.md"); err != nil {
		return r, err
	}
	entry := fmt.Sprintf("crisp-status-local (%s) stable; urgency=medium\n\n  * Another one.\n\n"+
		" -- Valerian Saliou <valerian@crisp.chat>  Thu, 26 Nov 2026 01:00:01 +0000\n\ncrisp-status-local", r.version)
	if err := replace(filepath.Join(r.dir, "debian/changelog"), "crisp-status-local", entry); err != nil {
		return r, err
	}
	if err := replace(filepath.Join(r.dir, "config.cfg"), `log_level = "warn"`, `log_level = "info"`); err != nil {
		return r, err
	}
	_, err = runOnce(nil, r.dir, "debian/release/deb", native)
	return r, err
})

// newRelease is a copy of the source that git takes for a checkout.
func newRelease(name string) (release, error) {
	dir, err := newScratch(name)
	if err != nil {
		return release{}, err
	}
	if _, err := runOnce(nil, top, "debian/release/source", dir); err != nil {
		return release{}, err
	}
	if _, err := runOnce(nil, dir, "git", "init", "--quiet"); err != nil {
		return release{}, err
	}
	version, err := runOnce(nil, dir, "debian/release/version")
	return release{dir, strings.TrimSpace(version)}, err
}

// replace writes the new text where the file first has the old one, which it must have.
func replace(file, old, text string) error {
	before, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !strings.Contains(string(before), old) {
		return fmt.Errorf("%s: %q is missing", file, old)
	}
	return os.WriteFile(file, []byte(strings.Replace(string(before), old, text, 1)), 0o644)
}

// next is the patch release after a version.
func next(version string) string {
	at := strings.LastIndex(version, ".") + 1
	patch, err := strconv.Atoi(version[at:])
	if err != nil {
		panic(err)
	}
	return version[:at] + strconv.Itoa(patch+1)
}

// original is a package laid out as those of version 1, built by the same tools: the
// configuration is a conffile that everybody may read, the service runs whatever it
// says. The program only waits: what it did is of no matter to an upgrade.
var original = once(func() (string, error) {
	dir, err := newScratch("original")
	if err != nil {
		return "", err
	}
	files := map[string]string{
		"debian/control": `Source: crisp-status-local
Section: net
Priority: optional
Maintainer: Valerian Saliou <valerian@crisp.chat>
Build-Depends: debhelper-compat (= 13)
Rules-Requires-Root: no

Package: crisp-status-local
Architecture: any
Depends: adduser
Description: Crisp Status Reporter local daemon
`,
		"debian/changelog": `crisp-status-local (1.4.3-0~120) stable; urgency=medium

  * As it was.

 -- Valerian Saliou <valerian@crisp.chat>  Thu, 02 Jan 2020 10:00:00 +0000
`,
		"debian/source/format": "3.0 (quilt)\n",
		"debian/rules":         "#!/usr/bin/make -f\n%:\n\tdh $@ --buildsystem=none\n",
		"debian/crisp-status-local.install": `crisp-status-local usr/bin
crisp-status-local.cfg etc
`,
		"debian/crisp-status-local.postinst": `#!/bin/sh
set -e
adduser --system --disabled-password --disabled-login --home /var/empty --no-create-home --quiet --group crisp-status-local
#DEBHELPER#
`,
		"debian/crisp-status-local.service": `[Unit]
Description=Crisp Status Reporter local daemon
After=network.target

[Service]
Type=simple
User=crisp-status-local
Group=crisp-status-local
ExecStart=/usr/bin/crisp-status-local -c /etc/crisp-status-local.cfg
Restart=on-failure

[Install]
WantedBy=multi-user.target
`,
		"crisp-status-local":     "#!/bin/sh\nexec sleep infinity\n",
		"crisp-status-local.cfg": "[server]\nlog_level = \"warn\"\n\n[report]\ntoken = \"YOUR_CRISP_REPORTER_TOKEN\"\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, "source", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			return "", err
		}
	}
	for _, config := range []string{"debian/crisp-status-local.install", "debian/crisp-status-local.service", "crisp-status-local.cfg"} {
		if err := os.Chmod(filepath.Join(dir, "source", config), 0o644); err != nil {
			return "", err
		}
	}
	if _, err := runOnce(nil, filepath.Join(dir, "source"), "dpkg-buildpackage", "--build=binary", "--no-sign"); err != nil {
		return "", err
	}
	return filepath.Join(dir, "crisp-status-local_1.4.3-0~120_"+native+".deb"), nil
})

func TestPackageIsCleanToLintian(t *testing.T) {
	t.Parallel()
	requireTools(t, "lintian")
	r := allPackages(t)
	for _, arch := range []string{"amd64", "arm64"} {
		run(t, "lintian", "--allow-root", "--pedantic", "-I", "-E",
			"--fail-on", "error,warning,info,pedantic,experimental", r.deb(arch))
	}
}

func TestPackageFields(t *testing.T) {
	t.Parallel()
	r := allPackages(t)
	for _, arch := range []string{"amd64", "arm64"} {
		fields := run(t, "dpkg-deb", "--field", r.deb(arch), "Package", "Version", "Architecture", "Depends", "Recommends")
		want(t, "the fields of the package", fields,
			fmt.Sprintf("Package: crisp-status-local\nVersion: %s\nArchitecture: %s\nDepends: adduser\nRecommends: ca-certificates\n", r.version, arch))
		if conffiles := run(t, "dpkg-deb", "--info", r.deb(arch)); strings.Contains(conffiles, "conffiles") {
			t.Errorf("the package has conffiles, want none: dpkg would ask about the configuration at an upgrade")
		}
	}
	if err := exec.Command("dpkg", "--compare-versions", r.version, "gt", "1.4.3-0~120").Run(); err != nil {
		t.Errorf("version %s: apt does not take it for newer than the original's 1.4.3", r.version)
	}
}

// TestPackageHolds compares what is in the packages with what is to be there.
func TestPackageHolds(t *testing.T) {
	t.Parallel()
	const plain, executable = "-rw-r--r-- root/root", "-rwxr-xr-x root/root"
	wanted := map[string]string{
		"./lib/systemd/system/crisp-status-local.service":               plain,
		"./usr/bin/crisp-status-local":                                  executable,
		"./usr/share/bash-completion/completions/crisp-status-local":    plain,
		"./usr/share/crisp-status-local/config.cfg":                     plain,
		"./usr/share/doc/crisp-status-local/NEWS.Debian.gz":             plain,
		"./usr/share/doc/crisp-status-local/README.md.gz":               plain,
		"./usr/share/doc/crisp-status-local/alerts.yml":                 plain,
		"./usr/share/doc/crisp-status-local/changelog.gz":               plain,
		"./usr/share/doc/crisp-status-local/dashboard.json":             plain,
		"./usr/share/doc/crisp-status-local/copyright":                  plain,
		"./usr/share/doc/crisp-status-local/kubernetes.yaml":            plain,
		"./usr/share/fish/vendor_completions.d/crisp-status-local.fish": plain,
		"./usr/share/lintian/overrides/crisp-status-local":              plain,
		"./usr/share/man/man5/crisp-status-local.cfg.5.gz":              plain,
		"./usr/share/man/man8/crisp-status-local.8.gz":                  plain,
		"./usr/share/zsh/vendor-completions/_crisp-status-local":        plain,
	}
	r := allPackages(t)
	for _, arch := range []string{"amd64", "arm64"} {
		got := make(map[string]string)
		for line := range strings.Lines(run(t, "dpkg-deb", "--contents", r.deb(arch))) {
			words := strings.Fields(line) // mode, owner, size, date, time, name
			mode, name := words[0]+" "+words[1], words[5]
			if !strings.HasSuffix(name, "/") {
				got[strings.Replace(name, "./usr/lib/", "./lib/", 1)] = mode // newer tools put the unit there
			} else if mode != "drwxr-xr-x root/root" {
				t.Errorf("%s: %s in the package is %s, want drwxr-xr-x root/root", arch, name, mode)
			}
		}
		if !maps.Equal(got, wanted) {
			t.Errorf("the package for %s holds\n%v\nwant\n%v", arch, got, wanted)
		}
	}
}

func TestArchitectureThatIsNotKnown(t *testing.T) {
	requireTools(t, "dpkg-buildpackage", "dh", "go")
	runFails(t, `debian/release/deb: "mips": architecture not known, want amd64 or arm64`, "debian/release/deb", "amd64", "mips")
	runFails(t, `debian/release/binary: "mips": architecture not known, want amd64 or arm64`, "debian/release/binary", "mips", filepath.Join(t.TempDir(), "binary"))
}

// TestPackageForARM64 runs the program of the other package.
func TestPackageForARM64(t *testing.T) {
	t.Parallel()
	requireTools(t, "qemu-aarch64-static")
	dir := t.TempDir()
	run(t, "dpkg-deb", "--extract", allPackages(t).deb("arm64"), dir)
	program := []string{"qemu-aarch64-static", filepath.Join(dir, "usr/bin/crisp-status-local")}
	if got := run(t, program[0], program[1], "--version"); !regexp.MustCompile(`^crisp-status-local ` + regexp.QuoteMeta(packages(t).version) + ` \(commit [0-9a-f]{12}\+?, go`).MatchString(got) {
		t.Errorf("--version: got %q, want the version, the commit and the Go", got)
	}
	runFails(t, "waiting for a token", program[0], program[1], "--configured", "-c", "config.cfg")

	replicas := filepath.Join(dir, "map.toml")
	if err := os.WriteFile(replicas, []byte(strings.ReplaceAll(statusMap, `, "icmp://127.0.0.1", "icmp://[::1]"`, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	summary := filepath.Join(dir, "summary.json")
	run(t, sandbox(t), "--map", replicas, "--interval", "1s", "--cycles", "2", "--json", summary, "--", program[0], program[1], "-c", "{config}")
	var judged struct{ Replicas, Healthy, Wrong int }
	if err := json.Unmarshal([]byte(read(t, summary)), &judged); err != nil {
		t.Fatal(err)
	}
	if judged.Replicas == 0 || judged.Healthy != judged.Replicas || judged.Wrong > 0 {
		t.Errorf("what it reports: got %+v, want every replica healthy", judged)
	}
}

// TestEveryFlagIsDocumented compares what the program says of itself with what the
// package says of it.
func TestEveryFlagIsDocumented(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run(t, "dpkg-deb", "--extract", packages(t).deb(native), dir)
	flags := regexp.MustCompile(`(^|[\s,])-{1,2}([a-zA-Z][a-z]*)`).FindAllStringSubmatch(run(t, filepath.Join(dir, "usr/bin/crisp-status-local"), "--help"), -1)
	if len(flags) < 8 {
		t.Fatalf("--help: got %d flags, want at least -c, -V, -h and the long ones", len(flags))
	}
	manual := strings.ReplaceAll(run(t, "zcat", filepath.Join(dir, "usr/share/man/man8/crisp-status-local.8.gz")), `\`, "")
	program := filepath.Join(dir, "usr/bin/crisp-status-local")
	completed := run(t, program, "__complete", "-") + run(t, program, "__complete", "--")
	for name, text := range map[string]string{"the manual page": manual, "what is completed": completed} {
		for _, flag := range flags {
			if !regexp.MustCompile(`\b` + flag[2] + `\b`).MatchString(text) {
				t.Errorf("%s: flag %q is missing", name, strings.TrimSpace(flag[0]))
			}
		}
	}
	// The library of completions that the script asks is played by a function.
	want(t, "what bash completes", run(t, "bash", "-c", `PATH=$1:$PATH
_init_completion() { words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}; }
compopt() { :; }
. "$0" && COMP_WORDS=(crisp-status-local --v) COMP_CWORD=1 COMP_TYPE=9 && $(complete -p crisp-status-local | sed 's/.*-F \([^ ]*\).*/\1/') && echo ${COMPREPLY[0]%% *}`,
		filepath.Join(dir, "usr/share/bash-completion/completions/crisp-status-local"), filepath.Join(dir, "usr/bin")), "--version\n")
}

// TestPackageIsReproducible builds the package again where all is different that
// must not matter.
func TestPackageIsReproducible(t *testing.T) {
	t.Parallel()
	r := packages(t)
	dir := filepath.Join(t.TempDir(), "another place, with blanks")
	// Without -a: with other times, and below with other modes.
	run(t, "cp", "-r", r.dir, dir)
	run(t, "find", dir, "-name", "*.cfg*", "-exec", "touch", "--date=2001-02-03", "{}", "+")
	run(t, "sh", "-c", `chmod -R go-rwx "$0" && rm -r "$0/dist"`, dir)
	build := command(t, []string{
		"TZ=Pacific/Kiritimati", "LC_ALL=C.UTF-8", "LANGUAGE=de", "TMPDIR=" + t.TempDir(),
		"GOFLAGS=-trimpath=false", "GOAMD64=v3", "GOARM64=v9.0",
	}, "sh", "-c", "umask 077 && exec debian/release/deb "+native)
	build.Dir = dir
	must(t, build)
	if out, err := output(exec.Command("cmp", r.deb(native), release{dir, r.version}.deb(native))); err != nil {
		t.Errorf("the package differs when it is built elsewhere: %s", out)
	}
}

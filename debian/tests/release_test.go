//go:build install

package tests

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// releaseTools are what a release is made with.
var releaseTools = []string{"git", "go", "gpg", "gpgconf", "dpkg-buildpackage", "dpkg-parsechangelog", "dh", "xz"}

// signer is the environment of who can sign, with a key that is thrown away.
func signer(t testing.TB) []string {
	t.Helper()
	const address = "nobody@example.org"
	env := []string{"GNUPGHOME=" + t.TempDir(), "KEY=" + address, "ARCH="}
	atEnd(t, func() {
		stop := exec.Command("gpgconf", "--kill", "all")
		stop.Env = append(os.Environ(), env...)
		if out, err := output(stop); err != nil {
			t.Errorf("%s: %v, it wrote:\n%s", line(stop), err, out)
		}
	})
	// The first is what gpg takes unless it is told.
	for _, user := range []string{"Another <another@example.org>", "Nobody <" + address + ">"} {
		must(t, command(t, env, "gpg", "--batch", "--passphrase", "", "--quick-gen-key", user, "ed25519", "sign"))
	}
	return env
}

// checkout makes dir a checkout of the tree as it is, committed and tagged for its release.
func checkout(t testing.TB, dir string) {
	t.Helper()
	run(t, "cp", "-r", source(t), dir)
	run(t, "rm", "-r", filepath.Join(dir, "vendor"), filepath.Join(dir, ".commit"))
	in(t, dir, "git", "init", "--quiet", "--initial-branch", "main")
	commit(t, dir)
	in(t, dir, "git", "tag", "v"+version(t))
}

// commit commits all there is in dir: the same files are the same commit, whenever
// it is made.
func commit(t testing.TB, dir string) {
	t.Helper()
	in(t, dir, "git", "add", "--all")
	date := []string{"GIT_AUTHOR_DATE=2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z"}
	must(t, commandIn(t, dir, date, "git", "-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "commit", "--quiet", "--message", "all of it"))
}

// in is run in another folder than the top.
func in(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	return must(t, commandIn(t, dir, nil, name, args...))
}

// commandIn is command in another folder than the top.
func commandIn(t testing.TB, dir string, env []string, name string, args ...string) *exec.Cmd {
	c := command(t, env, name, args...)
	c.Dir = dir
	return c
}

func TestRelease(t *testing.T) {
	t.Parallel()
	requireTools(t, releaseTools...)
	env := signer(t)
	v := version(t)
	tree := filepath.Join(t.TempDir(), "tree")
	checkout(t, tree)
	must(t, commandIn(t, tree, env, "debian/release/release"))
	dist := filepath.Join(tree, "dist")

	products := []string{
		"crisp-status-local_" + v + "_amd64.deb",
		"crisp-status-local_" + v + "_arm64.deb",
		"crisp-status-local_" + v + "_linux_amd64.cdx.json",
		"crisp-status-local_" + v + "_linux_amd64.tar.gz",
		"crisp-status-local_" + v + "_linux_arm64.cdx.json",
		"crisp-status-local_" + v + "_linux_arm64.tar.gz",
	}

	t.Run("files", func(t *testing.T) {
		var wanted []string
		for _, product := range append(slices.Clone(products), "SHA256SUMS") {
			wanted = append(wanted, product, product+".asc")
		}
		slices.Sort(wanted)
		want(t, "the files of a release", strings.Join(listing(t, dist), "\n"), strings.Join(wanted, "\n"))
	})

	t.Run("sums", func(t *testing.T) {
		wanted := strings.Join(products, ": OK\n") + ": OK\n"
		want(t, "sha256sum", in(t, dist, "sha256sum", "--check", "--strict", "SHA256SUMS"), wanted)
	})

	t.Run("signatures", func(t *testing.T) {
		for _, file := range append(slices.Clone(products), "SHA256SUMS") {
			said := must(t, commandIn(t, dist, env, "gpg", "--verify", file+".asc", file))
			wantWords(t, "the signature of "+file, said, "Good signature", "nobody@example.org")
		}
		mustFail(t, "BAD signature", commandIn(t, dist, env, "gpg", "--verify", "SHA256SUMS.asc", products[0]))
	})

	for arch, runner := range map[string][]string{"amd64": nil, "arm64": {"qemu-aarch64-static"}} {
		t.Run(arch, func(t *testing.T) { testTarball(t, tree, arch, runner) })
	}

	// Again where all is different that must not matter: the place, the rights of new
	// files, the time zone, the language, the builder's settings.
	t.Run("again", func(t *testing.T) {
		again := filepath.Join(t.TempDir(), "another place, with blanks")
		checkout(t, again)
		old := filepath.Join(again, "dist/crisp-status-local_1.9.9_amd64.deb")
		kept := filepath.Join(again, "dist/apt/kept")
		for _, file := range []string{old, kept} {
			run(t, "install", "-D", "/dev/null", file)
		}
		different := []string{
			"TZ=Pacific/Kiritimati", "LC_ALL=C.UTF-8", "LANGUAGE=de", "TMPDIR=" + t.TempDir(), "SOURCE_DATE_EPOCH=1",
			"GOFLAGS=-trimpath=false", "GOAMD64=v3", "GOARCH=arm64", "GZIP=-1", "GOPROXY=off",
		}
		must(t, commandIn(t, again, slices.Concat(env, different), "sh", "-c", "umask 077 && exec debian/release/release"))
		want(t, "SHA256SUMS of a second build, without a network", read(t, filepath.Join(again, "dist/SHA256SUMS")), read(t, filepath.Join(dist, "SHA256SUMS")))
		if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("dist/ still holds what an earlier release made: got %v, want it gone", err)
		}
		if _, err := os.Stat(kept); err != nil {
			t.Errorf("dist/apt is not as it was: %v", err)
		}
	})
}

// testTarball checks what one architecture gets, with the program that runs its binaries.
func testTarball(t *testing.T, tree, arch string, runner []string) {
	v := version(t)
	stem := filepath.Join(tree, "dist", "crisp-status-local_"+v+"_linux_"+arch)
	date := strings.TrimSpace(in(t, tree, "dpkg-parsechangelog", "-S", "Timestamp"))

	compressed, err := gzip.NewReader(strings.NewReader(read(t, stem+".tar.gz")))
	if err != nil {
		t.Fatal(err)
	}
	files := members(t, compressed)
	modes := make(map[string]string)
	for name, f := range files {
		modes[name] = fmt.Sprintf("%v %d:%d %d", f.FileInfo().Mode(), f.Uid, f.Gid, f.ModTime.Unix())
	}
	plain, executable := "-rw-r--r-- 0:0 "+date, "-rwxr-xr-x 0:0 "+date
	wanted := map[string]string{
		"crisp-status-local/":                           "d" + executable[1:],
		"crisp-status-local/crisp-status-local":         executable,
		"crisp-status-local/crisp-status-local.8":       plain,
		"crisp-status-local/crisp-status-local.cfg.5":   plain,
		"crisp-status-local/crisp-status-local.service": plain,
		"crisp-status-local/config.cfg":                 plain,
		"crisp-status-local/LICENSE":                    plain,
		"crisp-status-local/NOTICES":                    plain,
		"crisp-status-local/README.md":                  plain,
	}
	if !maps.Equal(modes, wanted) {
		t.Errorf("the tarball holds\n%v\nwant\n%v", modes, wanted)
	}
	for _, page := range []string{"crisp-status-local.8", "crisp-status-local.cfg.5"} {
		wantWords(t, page, string(files["crisp-status-local/"+page].text), "crisp-status-local "+v)
	}

	packed := filepath.Join(t.TempDir(), "package")
	run(t, "dpkg-deb", "--extract", filepath.Join(tree, "dist", "crisp-status-local_"+v+"_"+arch+".deb"), packed)
	binary := filepath.Join(packed, "usr/bin/crisp-status-local")
	if text := files["crisp-status-local/crisp-status-local"].text; !bytes.Equal(text, []byte(read(t, binary))) {
		t.Error("the binary of the tarball is not that of the package, want the same bytes")
	}
	testBill(t, tree, stem+".cdx.json", binary, date)

	// The notices are those of the modules that the bill lists, so nobody's is missing.
	for _, module := range modules(t, tree, arch) {
		path, _, _ := strings.Cut(module, "@")
		wantWords(t, "NOTICES", string(files["crisp-status-local/NOTICES"].text), "\n=== "+path+"/")
	}

	requireTools(t, runner...)
	wantWords(t, "--version", run(t, "env", append(slices.Clone(runner), binary, "--version")...),
		"crisp-status-local "+v+" (commit "+in(t, tree, "git", "rev-parse", "HEAD")[:12]+", go")
}

// licenses are those of what the daemon is built from.
var licenses = map[string]string{
	"stdlib":                                 "BSD-3-Clause",
	"github.com/BurntSushi/toml":             "MIT",
	"github.com/beorn7/perks":                "MIT",
	"github.com/bits-and-blooms/bitset":      "BSD-3-Clause",
	"github.com/cespare/xxhash/v2":           "MIT",
	"github.com/coreos/go-systemd/v22":       "Apache-2.0",
	"github.com/hashicorp/go-cleanhttp":      "MPL-2.0",
	"github.com/hashicorp/go-retryablehttp":  "MPL-2.0",
	"github.com/jedib0t/go-pretty/v6":        "MIT",
	"github.com/mattn/go-runewidth":          "MIT",
	"github.com/munnerz/goautoneg":           "BSD-3-Clause",
	"github.com/nlnwa/whatwg-url":            "Apache-2.0",
	"github.com/prometheus/client_golang":    "Apache-2.0",
	"github.com/prometheus/client_model":     "Apache-2.0",
	"github.com/prometheus/common":           "Apache-2.0",
	"github.com/prometheus/procfs":           "Apache-2.0",
	"github.com/rivo/uniseg":                 "MIT",
	"github.com/sirupsen/logrus":             "MIT",
	"github.com/spf13/cobra":                 "Apache-2.0",
	"github.com/spf13/pflag":                 "BSD-3-Clause",
	"golang.org/x/crypto/x509roots/fallback": "BSD-3-Clause",
	"golang.org/x/net":                       "BSD-3-Clause",
	"golang.org/x/sys":                       "BSD-3-Clause",
	"golang.org/x/term":                      "BSD-3-Clause",
	"golang.org/x/text":                      "BSD-3-Clause",
	"google.golang.org/protobuf":             "BSD-3-Clause",
}

// testBill checks a bill of materials against the binary and what go says it is built from.
func testBill(t *testing.T, tree, path, binary, date string) {
	t.Helper()
	type component struct {
		Type, Name, Version, Purl string
		Ref                       string `json:"bom-ref"`
		Hashes                    []struct{ Alg, Content string }
		Licenses                  []struct{ License struct{ ID string } }
	}
	var bill struct {
		BOMFormat, SpecVersion, SerialNumber string
		Metadata                             struct {
			Timestamp string
			Component component
		}
		Components   []component
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal([]byte(read(t, path)), &bill); err != nil {
		t.Fatal(err)
	}
	want(t, "the format of the bill", bill.BOMFormat+" "+bill.SpecVersion, "CycloneDX 1.6")
	if uuid := regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`); !uuid.MatchString(bill.SerialNumber) {
		t.Errorf("the serial number of the bill: got %q, want a UUID", bill.SerialNumber)
	}
	at, err := time.Parse(time.RFC3339, bill.Metadata.Timestamp)
	if err != nil || fmt.Sprint(at.Unix()) != date {
		t.Errorf("the date of the bill: got %q, want that of debian/changelog, %s", bill.Metadata.Timestamp, date)
	}

	daemon := bill.Metadata.Component
	want(t, "the subject of the bill", daemon.Name+" "+daemon.Version, "crisp-status-local "+version(t))
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, binary))))
	if len(daemon.Hashes) != 1 || daemon.Hashes[0].Alg != "SHA-256" || daemon.Hashes[0].Content != sum {
		t.Errorf("the hash of the binary: got %v, want SHA-256 %s", daemon.Hashes, sum)
	}

	arch := "amd64"
	if strings.Contains(path, "arm64") {
		arch = "arm64"
	}
	wanted := modules(t, tree, arch)
	wanted = append(wanted, "stdlib@"+strings.TrimPrefix(strings.TrimSpace(run(t, "go", "env", "GOVERSION")), "go"))
	slices.Sort(wanted)
	var got, refs []string
	for _, c := range bill.Components {
		got = append(got, c.Name+"@"+c.Version)
		refs = append(refs, c.Ref)
		want(t, "the purl of "+c.Name, c.Purl, "pkg:golang/"+c.Name+"@"+c.Version)
		if len(c.Licenses) != 1 || c.Licenses[0].License.ID != licenses[c.Name] {
			t.Errorf("the licenses of %s: got %v, want %q", c.Name, c.Licenses, licenses[c.Name])
		}
		if c.Name != "stdlib" && len(c.Hashes) != 1 {
			t.Errorf("the hashes of %s: got %v, want that of go.sum", c.Name, c.Hashes)
		}
	}
	slices.Sort(got)
	want(t, "the components of the bill", strings.Join(got, "\n"), strings.Join(wanted, "\n"))
	if of := bill.Dependencies[0]; of.Ref != daemon.Ref || !slices.Equal(of.DependsOn, refs) {
		t.Errorf("the bill says that %s depends on %q, want %s on %q", of.Ref, of.DependsOn, daemon.Ref, refs)
	}
}

// modules are the modules that the daemon is built from, as path@version.
func modules(t *testing.T, tree, arch string) []string {
	t.Helper()
	list := commandIn(t, tree, []string{"GOOS=linux", "GOARCH=" + arch, "CGO_ENABLED=0", "GOFLAGS="}, "go", "list", "-deps",
		"-f", "{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}{{end}}{{end}}", "./cmd/crisp-status-local")
	found := strings.Fields(must(t, list))
	slices.Sort(found)
	return slices.Compact(found)
}

func TestReleaseRefuses(t *testing.T) {
	t.Parallel()
	requireTools(t, releaseTools...)
	env := signer(t)
	v := version(t)
	const expired = "once@example.org"
	must(t, command(t, env, "gpg", "--batch", "--passphrase", "", "--faked-system-time", "20200101T000000!", "--quick-gen-key", expired, "ed25519", "sign", "1d"))
	good := filepath.Join(t.TempDir(), "good")
	checkout(t, good)
	run(t, "install", "-D", "/dev/null", filepath.Join(good, "dist/crisp-status-local_1.9.9_amd64.deb"))

	for name, c := range map[string]struct {
		spoil string // a script in the tree
		env   string
		want  string
	}{
		"changed file":           {"echo >>README.md", "", "debian/release/release: the tree is not clean, want everything committed:\n M README.md"},
		"new file":               {"touch new", "", "debian/release/release: the tree is not clean, want everything committed:\n?? new"},
		"no tag":                 {"git tag -d v" + v, "", "debian/release/release: HEAD has no tag, want the tag v" + v},
		"another tag":            {"git tag v9.9.9; git tag -d v" + v, "", "debian/release/release: HEAD has v9.9.9, want the tag v" + v},
		"a tag like it":          {"git tag v" + v + "0; git tag -d v" + v, "", "debian/release/release: HEAD has v" + v + "0, want the tag v" + v},
		"no key":                 {"", "KEY=", "debian/release/key: KEY is not set, want the OpenPGP key that signs"},
		"a key not known":        {"", "KEY=somebody@example.org", `debian/release/key: KEY="somebody@example.org": gpg has no such secret key`},
		"a key that has expired": {"", "KEY=" + expired, `debian/release/key: KEY="` + expired + `": gpg cannot sign with it`},
		"an architecture":        {"", "ARCH=amd64 mips", `debian/release/release: "mips": architecture not known, want amd64 or arm64`},
		"versions that differ":   {"sed -i '1s/(.*)/(9.9.9)/' debian/changelog", "", `debian/changelog: "9.9.9"`},
		"what is no version":     {"git grep -lF " + v + " -- cmd/*/main.go debian/changelog debian/*.[58] debian/kubernetes.yaml Dockerfile README.md | xargs sed -i 's/" + strings.ReplaceAll(v, ".", `\.`) + "/2.0/'", "", `debian/release/version: "2.0" is no version, want MAJOR.MINOR.PATCH like 2.0.0`},
		"a file without version": {"sed -i '/^.TH/d' debian/crisp-status-local.8", "", `debian/crisp-status-local.8: ""`},
	} {
		t.Run(name, func(t *testing.T) {
			tree := filepath.Join(t.TempDir(), "tree")
			run(t, "cp", "-a", good, tree)
			in(t, tree, "sh", "-c", c.spoil)
			mustFail(t, c.want, commandIn(t, tree, append(slices.Clone(env), c.env), "debian/release/release"))
			want(t, "dist/ after that", strings.Join(listing(t, filepath.Join(tree, "dist")), "\n"), "crisp-status-local_1.9.9_amd64.deb")
		})
	}
}

// TestVersionIsTheSameEverywhere changes it in one place after the other.
func TestVersionIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	v := version(t)
	for _, file := range []string{
		"cmd/crisp-status-local/main.go", "debian/changelog", "debian/crisp-status-local.8", "debian/crisp-status-local.cfg.5",
		"debian/kubernetes.yaml", "Dockerfile", "README.md",
	} {
		tree := filepath.Join(t.TempDir(), "tree")
		run(t, "cp", "-r", source(t), tree)
		if err := replace(filepath.Join(tree, file), v, "9.9.9"); err != nil {
			t.Fatal(err)
		}
		said := mustFail(t, "debian/release/version: the version is not the same everywhere", commandIn(t, tree, nil, "debian/release/version"))
		wantWords(t, "what debian/release/version says", said, "\n"+file+`: "9.9.9"`+"\n", `: "`+v+`"`)
	}
}

// TestGoInstall installs the module as a proxy serves it, from a proxy in a folder.
func TestGoInstall(t *testing.T) {
	t.Parallel()
	requireTools(t, "git", "go")
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	checkout(t, tree)
	module := strings.TrimSpace(in(t, tree, "go", "list", "-m"))
	tag := "v" + version(t)

	served := filepath.Join(dir, "proxy", module, "@v")
	if err := os.MkdirAll(served, 0o755); err != nil {
		t.Fatal(err)
	}
	in(t, tree, "git", "archive", "--format=zip", "--prefix="+module+"@"+tag+"/", "--output="+filepath.Join(served, tag+".zip"), "HEAD")
	for name, text := range map[string]string{
		"list":        tag + "\n",
		tag + ".info": fmt.Sprintf(`{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`, tag),
		tag + ".mod":  read(t, filepath.Join(tree, "go.mod")),
	} {
		if err := os.WriteFile(filepath.Join(served, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cache := strings.TrimSpace(run(t, "go", "env", "GOMODCACHE"))
	must(t, commandIn(t, dir, []string{
		"GOBIN=" + dir, "GOMODCACHE=" + filepath.Join(dir, "cache"), "GOFLAGS=-modcacherw", "GOSUMDB=off", "GOWORK=off",
		"GOPROXY=file://" + filepath.Join(dir, "proxy") + ",file://" + filepath.Join(cache, "cache/download"),
	}, "go", "install", module+"/cmd/crisp-status-local@latest"))
	wantWords(t, "--version", run(t, filepath.Join(dir, "crisp-status-local"), "--version"), "crisp-status-local "+version(t)+" (")
}

func TestAptRepository(t *testing.T) {
	t.Parallel()
	requireTools(t, append([]string{"apt-ftparchive", "apt-get"}, releaseTools...)...)
	env := signer(t)
	tree := filepath.Join(t.TempDir(), "tree")
	checkout(t, tree)
	dist := filepath.Join(tree, "dist")
	folder := filepath.Join(dist, "apt")
	mustFail(t, "debian/release/key: KEY is not set", commandIn(t, tree, append(slices.Clone(env), "KEY="), "debian/release/apt-repo"))
	mustFail(t, "debian/release/apt-repo: dist/ holds no package, want those of make deb", commandIn(t, tree, env, "debian/release/apt-repo"))

	// add adds packages of a version and says what the repository then is.
	add := func(version string) string {
		t.Helper()
		emptyPackages(t, dist, version)
		must(t, commandIn(t, tree, env, "sh", "-c", "umask 077 && exec debian/release/apt-repo"))
		return read(t, filepath.Join(folder, "dists/stable/InRelease"))
	}
	before := add("2.0.0")
	run(t, "sh", "-c", `rm "$0"/*.deb`, dist)
	after := add("2.1.0")

	for _, arch := range []string{"amd64", "arm64"} {
		index := read(t, filepath.Join(folder, "dists/stable/main/binary-"+arch+"/Packages"))
		wantWords(t, "the packages for "+arch, index, "Version: 2.0.0\n", "Version: 2.1.0\n", "_"+arch+".deb\n")
	}
	wantWords(t, "InRelease", after, "Suite: stable\n", "Components: main\n", "Architectures: amd64 arm64\n", "Acquire-By-Hash: yes\n")
	wantWords(t, "the signature of Release", must(t, commandIn(t, folder, env, "gpg", "--verify", "dists/stable/Release.gpg", "dists/stable/Release")),
		"Good signature", "nobody@example.org")

	// Who has read one of them finds what it names, although the other has come.
	indexes := regexp.MustCompile(`(?m)^ ([0-9a-f]{64}) +\d+ (main/\S+)/Packages`)
	for _, release := range []string{before, after} {
		named := indexes.FindAllStringSubmatch(release, -1)
		if len(named) != 6 {
			t.Errorf("InRelease names %d indexes, want 6", len(named))
		}
		for _, n := range named {
			text := read(t, filepath.Join(folder, "dists/stable", n[2], "by-hash/SHA256", n[1]))
			want(t, "the hash of an index of "+n[2], fmt.Sprintf("%x", sha256.Sum256([]byte(text))), n[1])
		}
	}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("%s: got the mode %v, want one that everybody may read: it is to be served", path, info.Mode())
		}
		if strings.HasPrefix(d.Name(), ".new") {
			t.Errorf("%s was left behind", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	t.Run("apt", func(t *testing.T) {
		root := aptRoot(t, folder)
		must(t, apt(t, root, "update"))
		for _, version := range []string{"2.0.0", "2.1.0"} {
			must(t, apt(t, root, "download", "crisp-status-local="+version))
			want(t, "the version in what apt got", run(t, "dpkg-deb", "--field", filepath.Join(root, "crisp-status-local_"+version+"_amd64.deb"), "Version"), version+"\n")
		}
	})

	t.Run("altered", func(t *testing.T) {
		for name, c := range map[string]struct{ files, command, want string }{
			"signed list":      {"dists/stable/InRelease", "update", "BADSIG"},
			"signature's list": {"dists/stable/Release.gpg dists/stable/InRelease", "update", "is not signed"},
			"index":            {"dists/stable/main/binary-amd64", "update", "Hash Sum mismatch"},
			"package":          {"pool", "download crisp-status-local=2.1.0", "Hash Sum mismatch"},
			"nothing":          {"crisp-status-local.sources", "download crisp-status-local=2.1.0", ""},
		} {
			t.Run(name, func(t *testing.T) {
				copied := filepath.Join(t.TempDir(), "apt")
				run(t, "cp", "-r", folder, copied)
				root := aptRoot(t, copied)
				if strings.HasPrefix(c.command, "download") {
					must(t, apt(t, root, "update"))
				}
				for file := range strings.FieldsSeq(c.files) {
					alter(t, filepath.Join(copied, file))
				}
				if c.want == "" {
					must(t, apt(t, root, strings.Fields(c.command)...))
					return
				}
				mustFail(t, c.want, apt(t, root, strings.Fields(c.command)...))
			})
		}
	})

	t.Run("published is published", func(t *testing.T) {
		was := tarOf(t, folder)
		file := filepath.Join(dist, "crisp-status-local_2.1.0_amd64.deb")
		kept := read(t, file)
		defer os.WriteFile(file, []byte(kept), 0o644)
		alter(t, file)
		mustFail(t, "what was published never changes, want a new version", commandIn(t, tree, env, "debian/release/apt-repo"))
		want(t, "the repository after that is as it was", fmt.Sprint(tarOf(t, folder) == was), "true")
	})

	// A repository with a date before the one that apt knows would be ignored without a word.
	t.Run("date", func(t *testing.T) {
		date := regexp.MustCompile(`(?m)^Date: .*$`)
		changelog := filepath.Join(tree, "debian/changelog")
		trailer := regexp.MustCompile(`(?m)^( -- .*>  ).*$`)
		text := read(t, changelog)
		dated := func(date string) {
			t.Helper()
			if err := os.WriteFile(changelog, []byte(trailer.ReplaceAllString(text, "${1}"+date)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		dated("Thu, 02 Jan 2020 10:00:00 +0000")
		want(t, "the date, with an older version added", date.FindString(add("1.9.0")), date.FindString(after))
		dated(time.Now().Add(48 * time.Hour).Format(time.RFC1123Z))
		mustFail(t, "want a date that is past", commandIn(t, tree, env, "debian/release/apt-repo"))
	})
}

// emptyPackages writes packages of a version that hold nothing to dist.
func emptyPackages(t testing.TB, dist, version string) {
	t.Helper()
	for _, arch := range []string{"amd64", "arm64"} {
		dir := t.TempDir()
		control := fmt.Sprintf("Package: crisp-status-local\nVersion: %s\nArchitecture: %s\n"+
			"Maintainer: Nobody <nobody@example.org>\nDescription: Nothing\n", version, arch)
		if err := errors.Join(os.MkdirAll(dist, 0o755), os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "DEBIAN"), 0o755),
			os.WriteFile(filepath.Join(dir, "DEBIAN/control"), []byte(control), 0o644)); err != nil {
			t.Fatal(err)
		}
		run(t, "dpkg-deb", "--root-owner-group", "--build", dir, filepath.Join(dist, "crisp-status-local_"+version+"_"+arch+".deb"))
	}
}

// aptRoot is the root folder of an apt that knows no repository but the one in a
// folder, by the file and the key that lie there for it.
func aptRoot(t testing.TB, folder string) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"etc/apt/sources.list.d", "etc/apt/preferences.d", "etc/apt/apt.conf.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Signed-By can have no blanks, escaped or not; where apt runs, it has none.
	const key = "/proc/self/cwd/crisp-status-local.gpg"
	if err := os.Symlink(filepath.Join(folder, "crisp-status-local.gpg"), filepath.Join(root, "crisp-status-local.gpg")); err != nil {
		t.Fatal(err)
	}
	sources := strings.NewReplacer(
		"https://crisp-im.github.io/crisp-status-local/", "file://"+strings.ReplaceAll(folder, " ", "%20"),
		"/usr/share/keyrings/crisp-status-local.gpg", key,
	).Replace(read(t, filepath.Join(folder, "crisp-status-local.sources")))
	wantWords(t, "crisp-status-local.sources", sources, "URIs: file:///", "Signed-By: "+key)
	for name, text := range map[string]string{"etc/apt/sources.list.d/crisp-status-local.sources": sources, "var/lib/dpkg/status": ""} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// apt is apt-get in a root folder of its own. It needs no rights.
func apt(t testing.TB, root string, args ...string) *exec.Cmd {
	options := []string{
		"-o", "Dir=" + root, "-o", "Dir::State::status=" + filepath.Join(root, "var/lib/dpkg/status"),
		"-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64", "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=true",
	}
	return commandIn(t, root, []string{"LC_ALL=C"}, "apt-get", append(options, args...)...)
}

// alter changes one byte in the middle of a file, or of each file in a folder.
func alter(t testing.TB, path string) {
	t.Helper()
	err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text[len(text)/2] ^= 1
		return os.WriteFile(path, text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOnlyTheNewestIsTheLatest: neither a release of an older line, nor a candidate, nor a
// tag that is no version moves it.
func TestOnlyTheNewestIsTheLatest(t *testing.T) {
	t.Parallel()
	requireTools(t, "git")
	remote := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		run(t, "git", append([]string{"-C", remote, "-c", "user.name=tests", "-c", "user.email=tests@example.com"}, args...)...)
	}
	git("init", "--quiet")
	git("commit", "--quiet", "--allow-empty", "--message", "a release")
	for _, tag := range []string{"v1.4.3", "v2.0.0", "v2.9.0", "v2.10.0", "v3.0.0-rc.1", "vnext", "v9", "w9.0.0"} {
		git("tag", tag)
	}
	for tag, want := range map[string]bool{"v2.10.0": true, "v2.9.0": false, "v1.4.3": false, "v3.0.0-rc.1": false, "v9": false} {
		if _, err := output(command(t, nil, "debian/release/newest", tag, remote)); (err == nil) != want {
			t.Errorf("%s is the latest: %t (%v), want %t", tag, err == nil, err, want)
		}
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	requireTools(t, "shellcheck", "git")
	var scripts []string
	for path := range strings.FieldsSeq(run(t, "git", "ls-files", "--cached", "--others", "--exclude-standard", "debian", ".ci")) {
		text, err := os.ReadFile(filepath.Join(top, path))
		if err == nil && regexp.MustCompile(`^#!/(bin/sh|usr/bin/env bash)\b`).Match(text) {
			scripts = append(scripts, path)
		}
	}
	for _, script := range []string{"debian/release/release", "debian/release/version", ".ci/run"} {
		if !slices.Contains(scripts, script) {
			t.Errorf("the scripts are %q, want %s among them", scripts, script)
		}
	}
	run(t, "shellcheck", scripts...)
}

func TestWorkflows(t *testing.T) {
	t.Parallel()
	requireTools(t, "shellcheck", "go")
	workflows, err := filepath.Glob(filepath.Join(top, ".github/workflows/*.yml"))
	if err != nil || len(workflows) < 2 {
		t.Fatalf("the workflows are %q, want those of changes and releases", workflows)
	}
	run(t, "go", append([]string{"run", "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12", "-shellcheck", "shellcheck"}, workflows...)...)
}

// tarOf is all that a folder holds, with modes and times.
func tarOf(t testing.TB, dir string) string {
	t.Helper()
	return run(t, "tar", "-c", "--sort=name", "-C", dir, ".")
}

// listing is the names in a folder, sorted.
func listing(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

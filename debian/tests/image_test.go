//go:build install

package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestImageWithDocker builds the image with a docker engine of its own and runs it
// in all the ways that README shows.
func TestImageWithDocker(t *testing.T) {
	t.Parallel()
	e := docker(t)
	image := "crispim/crisp-status-local:v" + version(t)
	e.build(t, native)
	t.Run("holds the daemon and the certificates alone", func(t *testing.T) { e.holds(t, image, native) })
	t.Run("takes a command as the original does", func(t *testing.T) {
		wantWords(t, "the version in the image", e.run(t, "run", "--rm", "--network", "none", image, "crisp-status-local", "--version"),
			"crisp-status-local "+version(t)+" (")
	})
	t.Run("watches as root", func(t *testing.T) {
		s := e.stage(t, image)
		s.watch(e.command(t, "run", "--detach", "--name", "daemon", "--network", "container:api",
			"--health-interval", "500ms", "--health-timeout", "2s", "--health-retries", "1", "--health-start-period", "0s",
			"--volume", s.configuration(0o600, 0)+":/etc/crisp-status-local.cfg", image))
		s.health("healthy")
		e.run(t, "kill", "--signal", "STOP", "daemon")
		s.health("unhealthy")
		e.run(t, "kill", "--signal", "CONT", "daemon")
		s.health("healthy")
		s.stop()
	})
	t.Run("watches with no rights at all", func(t *testing.T) {
		s := e.stage(t, image)
		s.watch(e.command(t, "run", "--detach", "--name", "daemon", "--network", "container:api", "--health-interval", "500ms",
			"--user", "65532:65532", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
			"--volume", s.configuration(0o400, 65532)+":/etc/crisp-status-local.cfg:ro", image))
		s.health("healthy")
		s.stop()
	})
	t.Run("says what is wrong with the file", func(t *testing.T) { e.complains(t, image) })
	t.Run("runs as README composes it", func(t *testing.T) { e.composes(t, image) })
	t.Run("needs buildx for another architecture", func(t *testing.T) {
		if err := e.command(t, "buildx", "version").Run(); err == nil {
			t.Skip("it is there")
		}
		mustFail(t, "docker without its plugin buildx builds for "+native+" alone", e.image(t, "ARCH=amd64 arm64"))
	})
	t.Run("says that no daemon answers", func(t *testing.T) {
		mustFail(t, "debian/release/image: docker cannot be used: ", e.image(t, "DOCKER_HOST=unix:///nowhere"))
	})
}

// TestImageWithPodman builds the image for both architectures, twice, and runs that
// of the other one under emulation.
func TestImageWithPodman(t *testing.T) {
	t.Parallel()
	e := podman(t)
	image := "crispim/crisp-status-local:v" + version(t)
	digests := func() map[string]string {
		found := make(map[string]string)
		for _, tag := range []string{"", "-amd64", "-arm64"} {
			found[tag] = e.run(t, "image", "inspect", "--format", "{{.Architecture}} {{.Digest}}", image+tag)
		}
		return found
	}
	e.build(t, "amd64 arm64")
	first := digests()
	if first[""] != first["-"+native] || first["-amd64"] == first["-arm64"] {
		t.Errorf("the images are %q, want one for each architecture, and that of %s without a suffix", first, native)
	}
	e.holds(t, image+"-amd64", "amd64")
	e.holds(t, image+"-arm64", "arm64")

	e.run(t, "rmi", "--force", image, image+"-amd64", image+"-arm64")
	want(t, "the images before the second build", strings.TrimSpace(e.run(t, "images", "--all", "--format", "{{.Repository}}")), "localhost/golang")
	must(t, command(t, append(e.env, "ENGINE=podman", "ARCH=arm64 amd64", "TZ=Pacific/Chatham", "LC_ALL=C"),
		"sh", "-c", "umask 077 && exec debian/release/image"))
	if second := digests(); !maps.Equal(first, second) {
		t.Errorf("the same source makes %q and then %q, want the same images", first, second)
	}

	t.Run("runs on arm64", func(t *testing.T) {
		requireTools(t, "qemu-aarch64-static")
		emulator := strings.TrimSpace(run(t, "sh", "-c", "command -v qemu-aarch64-static"))
		s := e.stage(t, image)
		s.watch(e.command(t, "run", "--detach", "--name", "daemon", "--network", "container:api", "--no-healthcheck",
			"--platform", "linux/arm64", "--volume", emulator+":/emulator:ro",
			"--volume", s.configuration(0o600, 0)+":/etc/crisp-status-local.cfg", image+"-arm64",
			"/emulator", "/usr/local/bin/crisp-status-local", "-c", "/etc/crisp-status-local.cfg"))
		want(t, "its health", e.run(t, "exec", "daemon", "/emulator", "/usr/local/bin/crisp-status-local", "--healthcheck",
			"-c", "/etc/crisp-status-local.cfg"), "ok\n")
		s.stop()
	})
}

func TestImageScriptRefusesWhatItCannotBuild(t *testing.T) {
	requireTools(t, "dpkg-parsechangelog")
	// All that the script runs before it asks for an engine.
	without := t.TempDir()
	for _, tool := range []string{"bash", "dirname", "dpkg-parsechangelog", "env", "go", "realpath"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(without, tool)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, env, want string }{
		{"engine", "ENGINE=lxc", `ENGINE="lxc": engine not known, want docker or podman`},
		{"architecture", "ARCH=amd64 mips", `"mips": architecture not known, want amd64 or arm64`},
		{"docker is missing", "PATH=" + without, "docker is not installed, want it, or another ENGINE (docker, podman)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mustFail(t, "debian/release/image: "+tt.want, command(t, []string{"ENGINE=docker", "ARCH=" + native, tt.env}, "debian/release/image"))
		})
	}
}

// engine is a container engine that keeps all it has to itself, reaches no network,
// and is gone when the test ends.
type engine struct {
	name string
	env  []string
}

func (e *engine) command(t testing.TB, args ...string) *exec.Cmd {
	return command(t, e.env, e.name, args...)
}

func (e *engine) run(t testing.TB, args ...string) string {
	t.Helper()
	return must(t, e.command(t, args...))
}

// last is a command for a cleanup, when others are killed.
func (e *engine) last(args ...string) *exec.Cmd {
	c := exec.Command(e.name, args...)
	c.Env = append(os.Environ(), e.env...)
	return c
}

// image is the command that builds the image.
func (e *engine) image(t testing.TB, env ...string) *exec.Cmd {
	return command(t, slices.Concat(e.env, []string{"ENGINE=" + e.name, "ARCH=" + native}, env), "debian/release/image")
}

func (e *engine) build(t testing.TB, archs string) {
	t.Helper()
	must(t, e.image(t, "ARCH="+archs))
}

// docker is a dockerd without a bridge, so that containers have loopback alone.
func docker(t *testing.T) *engine {
	t.Helper()
	requireRoot(t)
	requireTools(t, "docker", "dockerd", "containerd", "runc")
	dir := value(t, func() (string, error) { return newScratch("docker") })
	socket := "unix://" + dir + "/socket"
	e := &engine{"docker", []string{"DOCKER_HOST=" + socket, "DOCKER_CONFIG=" + dir + "/config"}}
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cgroup := fmt.Sprintf("crisp-status-local-docker-%d", os.Getpid())
	daemon := exec.Command("dockerd", "--host", socket, "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid",
		"--cgroup-parent", cgroup, "--exec-opt", "native.cgroupdriver=cgroupfs",
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false")
	daemon.Stdout, daemon.Stderr = log, log
	ended, err := start(daemon)
	if err != nil {
		t.Fatal(err)
	}
	atEnd(t, func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			t.Errorf("dockerd does not end within %v", patience)
			_ = daemon.Process.Kill()
			<-ended
		}
		_ = syscall.Unmount(dir+"/exec/netns/default", syscall.MNT_DETACH)
		removeCgroups(cgroup)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "dockerd answers", func() string {
		select {
		case <-ended:
			lines := strings.Split(strings.TrimSpace(read(t, log.Name())), "\n")
			skip(t, "dockerd cannot run here: "+lines[len(lines)-1])
		default:
		}
		if said, err := output(e.command(t, "ps")); err != nil {
			return err.Error() + ": " + said
		}
		return ""
	})
	e.lendGo(t)
	return e
}

// podman has its own store. It leaves limits and cgroups as it finds them, which a
// container that runs this test may not change.
func podman(t *testing.T) *engine {
	t.Helper()
	requireRoot(t)
	requireTools(t, "podman", "runc")
	dir := value(t, func() (string, error) { return newScratch("podman") })
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	e := &engine{"podman", []string{
		"CONTAINERS_CONF=" + file("containers.conf", `
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "`+dir+`/tmp"
`),
		"CONTAINERS_STORAGE_CONF=" + file("storage.conf", fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", dir+"/data", dir+"/run")),
	}}
	atEnd(t, func() {
		// What podman leaves behind to tidy up after a container may mount it again.
		for deadline := time.Now().Add(patience); os.RemoveAll(dir) != nil && time.Now().Before(deadline); {
			for syscall.Unmount(dir+"/data/overlay", syscall.MNT_DETACH) == nil {
			}
			time.Sleep(50 * time.Millisecond)
		}
		removeCgroups("libpod_parent")
	})
	if said, err := output(e.command(t, "ps")); err != nil {
		skip(t, "podman cannot run here: "+strings.TrimSpace(said))
	}
	e.lendGo(t)
	return e
}

// removeCgroups removes the cgroup of an engine, unless a container is still in it.
func removeCgroups(name string) {
	_ = exec.Command("find", "/sys/fs/cgroup", "-depth", "-type", "d", "(", "-name", name, "-o", "-path", "*/"+name+"/*", ")", "-exec", "rmdir", "{}", "+").Run()
}

// lendGo gives the engine what stands in for the image golang, so that it asks no registry.
func (e *engine) lendGo(t testing.TB) {
	t.Helper()
	archive := golang(t)
	tag := strings.TrimPrefix(strings.TrimSpace(run(t, "go", "env", "GOVERSION")), "go")
	e.run(t, "import", "--change", "ENV PATH=/usr/local/go/bin:/bin", "--change", "ENV GOCACHE=/go/cache", "--change", "ENV GOTOOLCHAIN=local",
		archive, "golang:"+tag)
}

// golang is the archive of an image with this machine's Go, busybox and certificates.
func golang(t testing.TB) string {
	t.Helper()
	requireTools(t, "busybox")
	source(t)
	return value(t, packGo)
}

// packGo adds the packages as they were compiled before: to compile them anew, for
// each engine and architecture, would take minutes and make the same bytes.
var packGo = sync.OnceValues(func() (string, error) {
	dir, err := newScratch("golang")
	if err != nil {
		return "", err
	}
	env := []string{"GOCACHE=" + filepath.Join(top, "bin", "image-cache")}
	for _, arch := range []string{"amd64", "arm64"} {
		if _, err := runOnce(env, filepath.Join(scratch, "source"), "debian/release/binary", arch, filepath.Join(dir, arch)); err != nil {
			return "", err
		}
	}
	_, err = runOnce(env, dir, "sh", "-ec", `
		mkdir -p bin tmp etc/ssl/certs usr/local go
		cp "$(command -v busybox)" bin/busybox
		bin/busybox --install bin
		cp `+certificates+` etc/ssl/certs
		ln -s "$(go env GOROOT)" usr/local/go
		ln -s "$GOCACHE" go/cache
		tar -chf golang.tar --exclude=testdata --exclude=usr/local/go/test --exclude=usr/local/go/src/cmd bin tmp etc usr go`)
	return filepath.Join(dir, "golang.tar"), err
})

const certificates = "/etc/ssl/certs/ca-certificates.crt"

// holds checks what is in the image of an architecture, and what it says of itself.
func (e *engine) holds(t testing.TB, image, arch string) {
	t.Helper()
	date := strings.TrimSpace(run(t, "dpkg-parsechangelog", "-S", "Timestamp"))
	built := filepath.Join(t.TempDir(), "built")
	run(t, "debian/release/binary", arch, built)
	const doc = "usr/share/doc/crisp-status-local/"
	wanted := map[string]string{
		"etc/": "", "etc/ssl/": "", "etc/ssl/certs/": "", "usr/": "", "usr/local/": "", "usr/local/bin/": "",
		"usr/share/": "", "usr/share/doc/": "", doc: "",
		doc + "LICENSE":                     read(t, filepath.Join(top, "LICENSE")),
		doc + "NOTICES":                     must(t, commandIn(t, source(t), nil, "debian/release/notices")),
		"etc/ssl/certs/ca-certificates.crt": read(t, certificates),
		"usr/local/bin/crisp-status-local":  read(t, built),
	}
	saved := filepath.Join(t.TempDir(), "saved")
	e.run(t, "save", "--output", saved, image)
	files := members(t, strings.NewReader(read(t, saved)))
	var manifest []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"].text, &manifest); err != nil || len(manifest) != 1 || len(manifest[0].Layers) != 1 {
		t.Fatalf("%s is saved as %+v (%v), want one image of one layer", image, manifest, err)
	}
	layer := members(t, bytes.NewReader(files[manifest[0].Layers[0]].text))
	for name, f := range layer {
		text, is := wanted[name]
		mode := int64(0o755)
		if !strings.HasSuffix(name, "/") && name != "usr/local/bin/crisp-status-local" {
			mode = 0o644
		}
		switch {
		case !is:
			t.Errorf("%s holds %s, want the daemon, the certificates and the licenses alone", image, name)
		case string(f.text) != text:
			t.Errorf("%s: %s is not what this machine has or builds", image, name)
		case f.Mode&0o7777 != mode || f.Uid != 0 || f.Gid != 0 || fmt.Sprint(f.ModTime.Unix()) != date:
			t.Errorf("%s: %s has the mode %o, is of %d:%d and dated %d, want %o, 0:0 and %s",
				image, name, f.Mode&0o7777, f.Uid, f.Gid, f.ModTime.Unix(), mode, date)
		}
		delete(wanted, name)
	}
	for name := range wanted {
		t.Errorf("%s: %s is missing", image, name)
	}

	var config struct {
		Architecture, OS string
		Config           struct {
			User, WorkingDir, StopSignal string
			Entrypoint, Cmd, Env         []string
			ExposedPorts, Volumes        map[string]struct{}
			Labels                       map[string]string
			Healthcheck                  struct {
				Test              []string
				Interval, Timeout time.Duration
			}
		}
	}
	if err := json.Unmarshal(files[manifest[0].Config].text, &config); err != nil {
		t.Fatal(err)
	}
	c := config.Config
	want(t, "its platform", config.OS+"/"+config.Architecture, "linux/"+arch)
	want(t, "its user, folder and signal", c.User+c.WorkingDir+c.StopSignal, "")
	if len(c.Entrypoint)+len(c.ExposedPorts)+len(c.Volumes) != 0 {
		t.Errorf("it has the entrypoint %q, the ports %v and the volumes %v, want none", c.Entrypoint, c.ExposedPorts, c.Volumes)
	}
	for _, variable := range c.Env {
		if !strings.HasPrefix(variable, "PATH=") { // which engines add
			t.Errorf("its environment has %q, want nothing", variable)
		}
	}
	want(t, "its command", strings.Join(c.Cmd, " "), "crisp-status-local -c "+configFile)
	want(t, "its health check", strings.Join(c.Healthcheck.Test, " "), "CMD crisp-status-local --healthcheck -c "+configFile)
	want(t, "how often and how long that asks", fmt.Sprint(c.Healthcheck.Interval, " ", c.Healthcheck.Timeout), "30s 10s")
	want(t, "its source", c.Labels["org.opencontainers.image.source"], "https://github.com/crisp-im/crisp-status-local")
	want(t, "its version", c.Labels["org.opencontainers.image.version"], version(t))
	want(t, "its license", c.Labels["org.opencontainers.image.licenses"], "MPL-2.0")
	if len(c.Labels) != 8 {
		t.Errorf("its labels are %q, want the eight of the Dockerfile", c.Labels)
	}
}

// stage is a container "api" with a stand-in for the Status API and its targets, on
// loopback, which the container "daemon" shares.
type stage struct {
	testing.TB
	*engine
	dir string
}

func (e *engine) stage(t *testing.T, image string) *stage {
	t.Helper()
	s := &stage{t, e, t.TempDir()}
	s.write("map.toml", `[[service]]
name = "Both families"
[[service.node]]
name = "Up"
replicas = ["target:tcp", "target:http", "target:icmp", "tcp://[::1]:8000", "http://[::1]:8000/", "icmp://[::1]"]
`)
	atEnd(t, func() {
		for _, name := range []string{"daemon", "api"} {
			if t.Failed() {
				state, _ := output(e.last("inspect", "--format", "{{json .State}}", name))
				log, _ := output(e.last("logs", name))
				t.Logf("the container %s: %s%s", name, state, log)
			}
			if said, err := output(e.last("rm", "--force", name)); err != nil {
				t.Errorf("removing the container %s: %v, it wrote:\n%s", name, err, said)
			}
		}
	})
	e.run(t, "run", "--detach", "--name", "api", "--network", "none", "--no-healthcheck", "--tmpfs", "/tmp",
		"--sysctl", "net.ipv6.conf.all.disable_ipv6=0", "--sysctl", "net.ipv6.conf.lo.disable_ipv6=0",
		"--volume", sandbox(t)+":/usr/local/bin/crisp-status-sandbox:ro", "--volume", s.dir+":/stage",
		image, "crisp-status-sandbox", "--listen", "[::]:8000", "--token", token, "--map", "/stage/map.toml", "--json", "/stage/summary.json")
	return s
}

// write makes a file on the stage.
func (s *stage) write(name, text string) string {
	s.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

// configuration is the file for the daemon, with that mode and owner.
func (s *stage) configuration(mode os.FileMode, owner int) string {
	s.Helper()
	path := s.write("crisp-status-local.cfg", `[server]
log_level = "info"
[report]
endpoint = "http://127.0.0.1:8000/v1"
token = "`+token+`"
[probe]
interval = 1
`)
	if err := errors.Join(os.Chmod(path, mode), os.Chown(path, owner, owner)); err != nil {
		s.Fatal(err)
	}
	return path
}

// watch starts the daemon with a command of the engine, and waits until all is healthy.
func (s *stage) watch(daemon *exec.Cmd) {
	s.Helper()
	must(s, daemon)
	eventually(s, "every replica is healthy", func() string {
		log := s.logs()
		if strings.Contains(log, `msg="cycle over" dead=0 healthy=6 replicas=6 sick=0`) {
			return ""
		}
		return "its log is:\n" + log
	})
}

func (s *stage) logs() string {
	s.Helper()
	return s.run(s, "logs", "daemon")
}

// health waits until the engine says so of the daemon.
func (s *stage) health(wanted string) {
	s.Helper()
	eventually(s, "the daemon is "+wanted, func() string {
		said := s.run(s, "inspect", "--format", "{{.State.Health.Status}} {{json .State.Health.Log}}", "daemon")
		if strings.HasPrefix(said, wanted+" ") {
			return ""
		}
		return said
	})
}

// stop ends the daemon and then the stand-in, which tells what it made of it.
func (s *stage) stop() {
	s.Helper()
	s.run(s, "stop", "daemon")
	want(s, "exit status of the daemon", strings.TrimSpace(s.run(s, "inspect", "--format", "{{.State.ExitCode}}", "daemon")), "0")
	log := s.logs()
	wantWords(s, "the log of the daemon", log, "msg=stopping", "msg=stopped")
	if strings.Contains(log, token) {
		s.Errorf("the log shows the token:\n%s", log)
	}
	s.run(s, "stop", "api")
	var judged struct {
		Healthy, Dead, Wrong, Unauthorized int
		Violations                         []any
	}
	text := read(s, filepath.Join(s.dir, "summary.json"))
	if err := json.Unmarshal([]byte(text), &judged); err != nil {
		s.Fatal(err)
	}
	if judged.Healthy != 6 || judged.Dead+judged.Wrong+judged.Unauthorized+len(judged.Violations) != 0 {
		s.Errorf("the status page heard %+v, want six healthy replicas and nothing else", judged)
	}
}

// complains runs the image with files that cannot work.
func (e *engine) complains(t *testing.T, image string) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.cfg")
	if err := os.WriteFile(secret, []byte("[report]\ntoken = \""+token+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const mounted = ":" + configFile
	for _, tt := range []struct {
		name    string
		options []string
		words   []string
	}{
		{"none", nil, []string{"no such file or directory", "want a file that this user", "can read"}},
		{"a path that does not exist", []string{"--volume", dir + "/missing.cfg" + mounted}, []string{"is a directory", "mount the absolute path of a file"}},
		{"a relative path", []string{"--volume", "config.cfg" + mounted}, []string{"is a directory", "mount the absolute path of a file"}},
		{"root's, as another user", []string{"--volume", secret + mounted, "--user", "65532:65532"}, []string{"permission denied", "want a file that this user", "can read"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			daemon := e.command(t, slices.Concat([]string{"run", "--rm", "--network", "none"}, tt.options, []string{image})...)
			wantWords(t, "the daemon", mustFail(t, configFile+": ", daemon), tt.words...)
			if status := daemon.ProcessState.ExitCode(); status != 78 {
				t.Errorf("exit status %d, want 78", status)
			}
		})
	}
}

// composes runs the compose file of README, with loopback for a network.
func (e *engine) composes(t *testing.T, image string) {
	requireTools(t, "docker-compose")
	_, rest, found := strings.Cut(read(t, filepath.Join(top, "README.md")), "\n```yaml\nservices:\n")
	text, _, ended := strings.Cut(rest, "\n```\n")
	if !found || !ended {
		t.Fatal("README.md: no compose file is found, want a block of yaml that begins with services:")
	}
	s := e.stage(t, image)
	s.configuration(0o400, 65532)
	wantWords(t, "the compose file of README", text, "\n    image: "+image+"\n", "\n    user: \"65532:65532\"\n",
		"\n    read_only: true\n", "\n    cap_drop: [ALL]\n", "\n    security_opt: [\"no-new-privileges:true\"]\n",
		"\n      - ./crisp-status-local.cfg:"+configFile+":ro")
	compose := command(t, e.env, "docker-compose", "--project-name", "readme",
		"--file", s.write("compose.yaml", "services:\n"+text+"\n"),
		"--file", s.write("loopback.yaml", "services: {crisp-status-local: {container_name: daemon, network_mode: 'container:api'}}\n"),
		"up", "--detach")
	s.watch(compose)
	s.stop()
}

//go:build install

package tests

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// waiting is what a fresh installation says, wherever it says something.
const waiting = configFile + ": waiting for a token: put that of your Crisp Status reporter, from your Crisp dashboard, " +
	"at report.token, then run: systemctl restart crisp-status-local"

const private = "640 root:crisp-status-local"

// TestInstall is the life of an installation, from apt-get install to purge.
func TestInstall(t *testing.T) {
	for _, suite := range suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			m := boot(t, suite)
			m.addRepository()
			this, other := packages(t).version, upgraded(t).version
			before := m.traces()

			m.neverExposed("the installation", func() { m.installsWaiting(this) })
			m.step("a token makes it report", func() {
				m.statusAPI()
				m.neverExposed("a restart", func() { m.configure(configuration(plainEndpoint, `token = "`+token+`"`)) })
				m.reportsAnew("with a token")
			})
			m.step("it is confined", m.confined)
			edited := m.read(configFile)
			for _, version := range []string{other, this} {
				m.step("version "+version+" takes its place", func() {
					m.neverExposed("the upgrade", func() { m.install(version) })
					want(t, "the edited configuration after the upgrade", m.read(configFile), edited)
					want(t, "its mode and owner after the upgrade", m.owned(configFile), private)
					m.active("after the upgrade")
					want(t, "the program that runs after the upgrade", m.running(), "crisp-status-local "+version)
					m.reportsAnew("after the upgrade")
				})
			}
			m.step("removed and installed again", func() {
				m.neverExposed("removal and return", func() {
					m.sh("apt-get remove -y crisp-status-local")
					want(t, "the configuration after removal", m.read(configFile), edited)
					want(t, "the service after removal", m.says("systemctl is-active crisp-status-local"), "inactive")
					m.install(this)
				})
				want(t, "the configuration after the return", m.read(configFile), edited)
				want(t, "its mode and owner after the return", m.owned(configFile), private)
				m.active("after the return")
				m.reportsAnew("after the return")
			})
			m.step("purged", func() {
				m.write(configFile+".dpkg-old", edited) // of version 1, long ago
				m.purge(before, "apt-get purge -y crisp-status-local")
			})
		})
	}
}

// step is a part of what happens in a machine, one after the other. Those after one
// that failed would tell nothing.
func (m *machine) step(name string, do func()) {
	m.Helper()
	outer := m.TB
	passed := outer.(*testing.T).Run(name, func(t *testing.T) {
		m.TB = t
		do()
	})
	m.TB = outer
	if !passed {
		outer.FailNow()
	}
}

// install installs a version as a machine does that nobody looks at, older ones too.
func (m *machine) install(version string) string {
	m.Helper()
	return m.sh("apt-get install -y --allow-downgrades crisp-status-local=" + version)
}

// installsWaiting installs a version where none was, which must end well and say
// what is to be done.
func (m *machine) installsWaiting(version string) {
	m.Helper()
	out := m.install(version)
	wantWords(m, "the installation", out, waiting)
	if n := strings.Count(out, "waiting for a token"); n != 1 {
		m.Errorf("the installation: it says %d times that it waits for a token, want once:\n%s", n, out)
	}
	want(m, "the service after the installation", m.says("systemctl is-enabled crisp-status-local"), "enabled")
	want(m, "the service without a token", m.property("ActiveState", "Result"), "inactive exec-condition")
	wantWords(m, "systemctl status without a token", m.says("systemctl status --no-pager --full crisp-status-local"), waiting)
	want(m, "the machine without a token", m.says("systemctl is-system-running"), "running")
	want(m, "mode and owner of the configuration", m.owned(configFile), private)
	m.shFails("Permission denied", "setpriv --reuid=nobody --regid=nogroup --clear-groups cat "+configFile)
	want(m, "the sample", m.read("/usr/share/crisp-status-local/config.cfg"), m.read(configFile))
	for _, page := range []string{"crisp-status-local", "crisp-status-local.cfg"} {
		wantWords(m, "the manual page", m.sh("MANWIDTH=120 man "+page), strings.ToUpper(page)+"(", "\nSEE ALSO")
	}
	m.sh("ls /usr/share/bash-completion/completions/crisp-status-local" +
		" /usr/share/zsh/vendor-completions/_crisp-status-local /usr/share/fish/vendor_completions.d/crisp-status-local.fish")
	want(m, "what systemd has to say about the unit", m.says("systemd-analyze verify /lib/systemd/system/"+unit), "")
}

// configure writes the configuration as an operator does, and restarts the service.
func (m *machine) configure(text string) {
	m.Helper()
	m.write(configFile, text)
	m.sh("service crisp-status-local restart")
	want(m, "the service after a restart", m.property("ActiveState", "SubState"), "active running")
}

// running is what the program that the service runs calls itself.
func (m *machine) running() string {
	m.Helper()
	said := m.sh("/proc/" + m.property("MainPID") + "/exe --version")
	name, toolchain, _ := strings.Cut(strings.TrimSpace(said), " (")
	if !strings.Contains(toolchain, "go1.") || !strings.HasSuffix(toolchain, ")") {
		m.Errorf("--version: got %q, want the Go it is built with after the version", said)
	}
	return name
}

// confined checks what the service may do.
func (m *machine) confined() {
	m.Helper()
	want(m, "how the service says that it is ready", m.property("Type"), "notify")
	pid := m.property("MainPID")
	want(m, "the user of the service", strings.TrimSpace(m.sh("ps -o user:32=,group:32= -p "+pid+" | tr -s ' '")), "crisp-status-local crisp-status-local")
	status := m.read("/proc/" + pid + "/status")
	for _, line := range []string{"CapEff:\t0000000000002000", "CapBnd:\t0000000000002000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		wantWords(m, "the rights of the service", status, line)
	}
	for name, wanted := range map[string]string{
		"Restart":                  "on-failure",
		"RestartUSec":              "3s",
		"RestartPreventExitStatus": "78",
		"StartLimitIntervalUSec":   "0",
		"TimeoutStopUSec":          "15s",
		"LimitCORE":                "0",
		"KeyringMode":              "private",
		"RemoveIPC":                "yes",
		"RestrictAddressFamilies":  "AF_INET AF_INET6 AF_NETLINK AF_UNIX",
		"SystemCallErrorNumber":    "1", // EPERM
	} {
		values := strings.Fields(m.property(name))
		slices.Sort(values) // systemd has no order for families
		want(m, name+" of the service", strings.Join(values, " "), wanted)
	}
	want(m, "the shell of the user", m.sh("getent passwd crisp-status-local | cut -d: -f7"), "/usr/sbin/nologin\n")
	want(m, "open files that the unit asks for", m.property("LimitNOFILE"), "131072")
	if got, most := m.openFiles(pid), m.openFiles("1"); got != 131072 && got != most {
		m.Errorf("open files of the service: got %d, want 131072, or the %d that systemd itself has here", got, most)
	}
	_, exposure, _ := strings.Cut(m.sh("systemd-analyze security --no-pager "+unit), "Overall exposure level for "+unit+": ")
	exposure, _, _ = strings.Cut(exposure, " ")
	if len(exposure) != 3 || exposure > "1.5" {
		m.Errorf("exposure of the service: got %q, want 1.5 or less", exposure)
	}
}

// openFiles is the hard limit of a process, to which the Go runtime raises the soft one.
func (m *machine) openFiles(pid string) int {
	m.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(m.sh("awk '/^Max open files/ { print $5 }' /proc/" + pid + "/limits")))
	if err != nil {
		m.Fatal(err)
	}
	return n
}

// traces are all files and users that have to do with the package, and what is in
// the folders that its parts are put into, a line each. What man, apt and this test
// make of their own accord is none of them.
func (m *machine) traces() []string {
	m.Helper()
	return strings.Split(m.sh(`find / -xdev \( -path /var/cache/man -o -path /var/lib/apt/lists -o -path /tmp \) -prune -o -iname '*crisp*' -print
		find /etc /var/lib/systemd /usr/share /lib/systemd -type d -empty
		getent passwd; getent group; ls -1 /etc/systemd/system /etc/systemd/system/multi-user.target.wants`), "\n")
}

// purge purges the package with a command, after which there must be nothing that
// was not there before.
func (m *machine) purge(before []string, command string) {
	m.Helper()
	m.sh(command)
	for _, line := range m.traces() {
		if !slices.Contains(before, line) {
			m.Errorf("purge leaves %s", line)
		}
	}
	if list := m.sh("systemctl list-units --all --plain --no-legend '*crisp*'"); list != "" {
		m.Errorf("units after purge: got %s, want none", list)
	}
}

// TestUpgradeFromTheOriginal takes the place of a package of version 1.
func TestUpgradeFromTheOriginal(t *testing.T) {
	t.Parallel()
	m := boot(t, "bookworm")
	m.addRepository()
	before := m.traces()
	this := packages(t).version
	m.sh("apt-get install -y " + lent(original(t)))
	want(t, "mode and owner of the original's configuration", m.owned(configFile), "644 root:root")
	m.statusAPI()
	edited := "# Ours.\n" + configuration(plainEndpoint, `token = "`+token+`"`)
	m.configure(edited)
	const old = configFile + ".dpkg-old" // of an upgrade from another one of version 1
	m.write(old, edited)
	want(t, "mode and owner of the one before", m.owned(old), "644 root:root")

	m.step("its token is kept, and hidden", func() {
		w := m.watch()
		out := m.install(this)
		for _, file := range []string{configFile, old} {
			wantWords(m, "the upgrade", out, file+": mode and owner were 0644 root:root, now 0640 root:crisp-status-local: it holds a token")
			want(m, "mode and owner of "+file+" after the upgrade", m.owned(file), private)
		}
		if strings.Contains(out, "waiting for a token") {
			m.Errorf("the upgrade: it says that it waits for a token, and has one:\n%s", out)
		}
		for _, exposed := range w.done() {
			if exposed != configFile+" -rw-r--r--" && exposed != old+" -rw-r--r--" {
				m.Errorf("the upgrade: others could read, for a moment: %s", exposed)
			}
		}
		want(m, "the configuration after the upgrade", m.read(configFile), edited)
		want(m, "the service after the upgrade", m.says("systemctl is-enabled crisp-status-local"), "enabled")
		m.active("after the upgrade")
		m.reportsAnew("after the upgrade")
	})
	m.step("it is said once", func() {
		out := m.install(upgraded(m).version)
		if strings.Contains(out, "0644") {
			m.Errorf("the next upgrade mends again:\n%s", out)
		}
		want(m, "the configuration after the next upgrade", m.read(configFile), edited)
	})
	m.step("there and back again", func() {
		m.sh("apt-get install -y --allow-downgrades --option Dpkg::Options::=--force-confold " + lent(original(m)))
		want(m, "the configuration after the way back", m.read(configFile), edited)
		m.install(this)
		want(m, "the configuration after the return", m.read(configFile), edited)
		want(m, "its mode and owner after the return", m.owned(configFile), private)
		m.active("after the return")
	})
	m.step("purged", func() {
		m.write("/etc/default/crisp-status-local", "HTTPS_PROXY=\n")
		m.purge(before, "apt-get purge -y crisp-status-local")
	})
}

// TestUpgradeFromTheUntouchedOriginal takes the place of one that nobody has configured.
func TestUpgradeFromTheUntouchedOriginal(t *testing.T) {
	t.Parallel()
	m := boot(t, "bookworm")
	m.addRepository()
	before := m.traces()
	m.sh("apt-get install -y " + lent(original(t)))
	sample := m.read(configFile)
	wantWords(m, "the upgrade", m.install(packages(t).version), waiting)
	want(m, "the service without a token", m.property("ActiveState", "Result"), "inactive exec-condition")
	want(m, "the configuration after the upgrade", m.read(configFile), sample)
	want(m, "its mode and owner after the upgrade", m.owned(configFile), private)
	// What is purged last may not need what it depends on.
	m.purge(before, "dpkg --remove --force-depends crisp-status-local adduser; dpkg --purge crisp-status-local")
}

// TestOperatorsFileIsLeftAlone upgrades where the operator wanted the file otherwise.
func TestOperatorsFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	m := boot(t, "bookworm")
	m.addRepository()
	m.sh("useradd alice; mkdir /srv/site")
	m.write("/srv/site/mine.cfg", "# placed before the package\n")
	m.sh("chmod 0600 /srv/site/mine.cfg && ln -s /srv/site/mine.cfg " + configFile)
	versions := []string{packages(t).version, upgraded(t).version}
	upgrades := 0
	again := func() string {
		upgrades++
		return m.install(versions[upgrades%2])
	}
	m.step("a link that was there before", func() {
		again()
		want(m, "the link", m.says("readlink "+configFile), "/srv/site/mine.cfg")
		want(m, "the file behind it", m.read("/srv/site/mine.cfg"), "# placed before the package\n")
		want(m, "its mode and owner", m.owned("/srv/site/mine.cfg"), "600 root:root")
	})
	m.write("/srv/site/ours.cfg", "# ours\n")
	m.sh("rm " + configFile + "; cp /srv/site/ours.cfg " + configFile)
	for _, owned := range []string{"600 root:root", "640 root:adm", "660 alice:crisp-status-local", "400 crisp-status-local:nogroup"} {
		m.step(owned, func() {
			mode, owner, _ := strings.Cut(owned, " ")
			m.sh("chown " + owner + " " + configFile + "; chmod " + mode + " " + configFile)
			m.neverExposed("the upgrade", func() { again() })
			want(m, "mode and owner after the upgrade", m.owned(configFile), owned)
			want(m, "the configuration after the upgrade", m.read(configFile), "# ours\n")
		})
	}
	m.step("a link to a file that others can read", func() {
		m.sh("chmod 0644 /srv/site/mine.cfg; rm " + configFile + "; ln -s /srv/site/mine.cfg " + configFile)
		wantWords(m, "the upgrade", again(), configFile, "0644 root:root, which lets others read the token")
		want(m, "mode and owner behind the link", m.owned("/srv/site/mine.cfg"), "644 root:root")
	})
	m.step("a file that cannot be mended", func() {
		m.sh("rm " + configFile + "; mount --bind -o ro /srv/site /srv/site; touch " + configFile + "; mount --bind -o ro /srv/site/mine.cfg " + configFile)
		wantWords(m, "the upgrade", again(), configFile, "0644 root:root, which lets others read the token")
		m.sh("umount " + configFile + " /srv/site; cp /srv/site/ours.cfg " + configFile)
	})
	m.step("an override of dpkg", func() {
		m.sh("dpkg-statoverride --update --add root adm 0644 " + configFile)
		again()
		want(m, "mode and owner after the upgrade", m.owned(configFile), "644 root:adm")
	})
	m.step("a file that was deleted", func() {
		m.sh("rm " + configFile)
		again()
		if _, err := os.Lstat(m.path(configFile)); err == nil {
			m.Errorf("the upgrade brings back a configuration that was deleted")
		}
	})
	m.step("a folder in its place", func() {
		m.sh("dpkg-statoverride --remove " + configFile + "; mkdir " + configFile)
		wantWords(m, "the upgrade", again(), "crisp-status-local does not start", "systemctl status crisp-status-local")
		m.sh("touch " + configFile + "/kept && apt-get purge -y crisp-status-local && rm " + configFile + "/kept")
		again()
		m.sh("apt-get purge -y crisp-status-local && ! ls -d " + configFile)
	})
}

//go:build install

package tests

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestService is what the service does once it has a token, and what it survives.
func TestService(t *testing.T) {
	t.Parallel()
	m := boot(t, "bookworm")
	m.sh("apt-get install -y " + lent(packages(t).deb(native)))
	endpoint := m.statusAPI()
	plain := configuration(plainEndpoint, `token = "`+token+`"`)
	m.configure(plain)

	m.step("its health", func() {
		const ask = " -- crisp-status-local --healthcheck -c " + configFile
		m.reportsAnew("with a token")
		want(m, "its health, asked by its user", m.sh("runuser -u crisp-status-local"+ask), "ok\n")
		m.shFails("ask as the user of the daemon", "runuser -u nobody"+ask)
		m.shFails("runuser -u crisp-status-local"+ask, "crisp-status-local --healthcheck -c "+configFile)
	})
	m.step("reload", func() {
		pid := m.property("MainPID")
		m.write(configFile, configuration(plainEndpoint, `token = "another"`))
		m.sh("systemctl reload crisp-status-local")
		eventually(m, "the Status API gets the token of the new configuration", func() string {
			if m.page().Summary.Unauthorized == 0 {
				return "none that it refuses"
			}
			return ""
		})
		m.write(configFile, "[report]\n")
		m.sh("systemctl reload crisp-status-local")
		m.logs("not reloading")
		m.write(configFile, plain)
		m.sh("systemctl reload crisp-status-local")
		m.reportsAnew("after a reload")
		want(m, "the process after a reload", m.property("MainPID"), pid)
		want(m, "the service after a reload", m.property("ActiveState", "SubState"), "active running")
	})
	m.step("its status", func() {
		eventually(m, "systemd shows how it is", func() string {
			text := m.property("StatusText")
			if strings.Contains(text, " healthy, ") && strings.Contains(text, "reports on time") && strings.Contains(text, "next cycle in ") {
				return ""
			}
			return text
		})
	})
	m.step("a unix socket for those of its group", func() {
		const socket = "/run/crisp-status-local/http"
		m.configure(strings.Replace(plain, "[server]\n", "[server]\ninet = \""+socket+"\"\n", 1))
		m.opensSocket(socket)
		m.kill("KILL")
		m.opensSocket(socket)
		m.configure(plain)
	})
	m.step("it hangs", func() {
		want(m, "the time in which it must make progress", m.property("WatchdogUSec"), "3min")
		m.dropIn("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\nRestartSec=10ms")
		m.sh("systemctl restart crisp-status-local")
		m.reportsAnew("with a watchdog")
		pid := m.property("MainPID")
		m.sh("kill -STOP " + pid)
		eventually(m, "the service that hangs is started again", func() string {
			if now := m.property("ActiveState", "MainPID"); !strings.HasPrefix(now, "active ") || now == "active "+pid {
				return now
			}
			return ""
		})
		m.logs("Watchdog timeout")
		m.reportsAnew("after it hung")
		m.dropIn("[Service]")
		m.sh("systemctl restart crisp-status-local")
	})
	m.step("killed", func() {
		m.kill("KILL")
		m.reportsAnew("after it was killed")
		// At the pace of the unit, so many deaths would take longer than systemd counts them for.
		m.dropIn("[Service]\nRestartSec=10ms")
		for range 6 {
			m.kill("KILL")
		}
		m.kill("TERM") // it ends well then, and nobody asked for it
		m.kill("INT")
		m.reportsAnew("after it was killed many times")
	})
	m.step("stopped by a person", func() {
		m.sh("systemctl stop crisp-status-local")
		want(m, "the service after a stop", m.property("ActiveState", "Result", "ExecMainStatus"), "inactive success 0")
		m.sh("systemctl start crisp-status-local")
	})
	m.step("a configuration that cannot work", func() {
		m.write(configFile, "[report]\ntoken = 7\n")
		m.shFails("", "service crisp-status-local restart")
		// Were it to be started again, it would be activating by now.
		want(m, "the service", m.property("ActiveState", "SubState", "ExecMainStatus"), "failed failed 78")
		wantWords(m, "systemctl status", m.says("systemctl status --no-pager --full crisp-status-local"), configFile, "report.token")
		m.sh("apt-get install -y --reinstall " + lent(packages(m).deb(native)))
	})
	m.step("before the network", func() {
		after := m.property("After")
		wantWords(m, "what the service comes after", after, "network-online.target", "nss-lookup.target")
		if pulled := m.property("Wants", "Requires"); strings.Contains(pulled, "network") {
			m.Errorf("the service pulls in %s, want it to start without a network", pulled)
		}
		m.sh("ip link set lo down; ip address del 192.0.2.1/32 dev lo")
		m.configure(strings.ReplaceAll(plain, "192.0.2.1", "status.example"))
		m.logs("there is no map yet")
		m.sh("ip link set lo up; ip address add 192.0.2.1/32 dev lo; echo 192.0.2.1 status.example >>/etc/hosts")
		m.reportsAnew("when the network has come up")
	})
	m.step("a systemd credential", func() {
		m.write("/etc/crisp-status-local.token", token+"\n")
		m.sh("chmod 0600 /etc/crisp-status-local.token")
		m.dropIn("[Service]\nLoadCredential=token:/etc/crisp-status-local.token")
		m.configure(configuration(plainEndpoint, `token_file = "${CREDENTIALS_DIRECTORY}/token"`))
		m.reportsAnew("with a credential")
	})
	m.step("a proxy, and certificates of the environment", func() {
		m.sh("systemd-run --quiet --unit=proxy --setenv=" + roleVariable + "=proxy " + lent(testBinary(m)) + " 192.0.2.1:3128")
		m.write("/etc/default/crisp-status-local", "# Ours.\nHTTPS_PROXY=http://192.0.2.1:3128\nSSL_CERT_FILE=/etc/ssl/private-ca.pem\n")
		m.configure(configuration(endpoint, `token = "`+token+`"`))
		m.reportsAnew("through a proxy")
		wantWords(m, "the log of the proxy", m.sh("journalctl --no-pager -u proxy"), "CONNECT "+strings.TrimSuffix(strings.TrimPrefix(endpoint, "https://"), "/v1"))
	})
	m.step("files anywhere", func() {
		for _, folder := range [][2]string{{"/srv", "/opt"}, {"/var/lib", "/usr/local/etc"}} {
			m.write(folder[0]+"/token", token)
			m.sh("cp /etc/ssl/private-ca.pem " + folder[1])
			m.configure(strings.ReplaceAll(configuration(plainEndpoint, `token_file = "`+folder[0]+`/token"`), "/etc/ssl", folder[1]))
			m.reportsAnew(fmt.Sprint("with files in ", folder))
		}
	})
	m.step("the token is nowhere", func() {
		if strings.Contains(m.sh("journalctl --no-pager --output=verbose --unit=crisp-status-local"), token) {
			m.Errorf("the journal has the token")
		}
		if strings.Contains(m.sh("cat /proc/"+m.property("MainPID")+"/environ /proc/"+m.property("MainPID")+"/cmdline"), token) {
			m.Errorf("the environment or the arguments of the service have the token")
		}
	})
}

// logs waits until the service has written the words.
func (m *machine) logs(words string) {
	m.Helper()
	eventually(m, "the service logs "+words, func() string {
		if log := m.sh("journalctl --no-pager --output=cat --unit=crisp-status-local"); !strings.Contains(log, words) {
			return log
		}
		return ""
	})
}

// opensSocket waits until the service listens at the path of a socket, which those of
// its group may connect to.
func (m *machine) opensSocket(path string) {
	m.Helper()
	eventually(m, "the service listens at "+path, func() string {
		if sockets := m.sh("cat /proc/net/unix"); !strings.Contains(sockets, " "+path+"\n") {
			return m.says("ls -l /run/crisp-status-local; grep crisp /proc/net/unix")
		}
		return ""
	})
	want(m, "the socket", m.owned(path), "660 crisp-status-local:crisp-status-local")
}

// kill ends the service by a signal, which nothing else does, and waits until it is back.
func (m *machine) kill(signal string) {
	m.Helper()
	pid := m.property("MainPID")
	m.sh("kill -" + signal + " " + pid)
	eventually(m, "the service comes back", func() string {
		if now := m.property("ActiveState", "MainPID"); !strings.HasPrefix(now, "active ") || now == "active "+pid {
			return now
		}
		return ""
	})
}

// dropIn changes the unit as an operator does.
func (m *machine) dropIn(text string) {
	m.Helper()
	m.sh("mkdir -p /etc/systemd/system/" + unit + ".d")
	m.write("/etc/systemd/system/"+unit+".d/ours.conf", text+"\n")
	m.sh("systemctl daemon-reload")
}

func init() { roles["proxy"] = serveProxy }

// serveProxy is a proxy for HTTPS at an address, and nothing else. It writes down
// what it is asked for.
func serveProxy(args []string) error {
	return http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.Host)
		if r.Method != http.MethodConnect {
			http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
			return
		}
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		w.WriteHeader(http.StatusOK)
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		go func() { _, _ = io.Copy(there, here) }()
		_, _ = io.Copy(here, there)
	}))
}

package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// pair writes a certificate and its key, and returns where they are.
func pair(t *testing.T) (certPath, keyPath string) {
	t.Helper()
	return pairUntil(t, time.Now().Add(time.Hour))
}

// pairUntil is pair, with a certificate that is valid until then.
func pairUntil(t *testing.T, until time.Time) (certPath, keyPath string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPath = write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	keyPath = write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	if err := os.Chmod(keyPath, 0o600); err != nil {
		t.Fatal(err)
	}
	return certPath, keyPath
}

// secretFile writes a file that its owner alone can read.
func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := write(t, "secret", content)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestClusters(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := pair(t)
	password := secretFile(t, "pa55\r\n")
	vars := environment(map[string]string{"ETCD": "http://127.0.0.1:2379, http://127.0.0.1:2381/", "HOST": "10.0.0.2"})
	for _, tt := range []struct {
		text string
		want Cluster
	}{
		{"", Cluster{Engine: NoEngine}},
		{"engine = 'NONE'", Cluster{Engine: NoEngine}},
		{"engine = 'alive'\nmember = 'host-a.lan_1'", Cluster{Engine: Alive, Member: "host-a.lan_1"}},
		{"engine = 'alive'", Cluster{Engine: Alive, Member: host}},
		{"engine = 'address'\nmember = 'a'\naddress = '::ffff:10.0.0.100'", Cluster{Engine: Address, Member: "a", Addr: netip.MustParseAddr("10.0.0.100")}},
		{"engine = 'address'\nmember = 'a'\naddress = 'FD00::100'", Cluster{Engine: Address, Member: "a", Addr: netip.MustParseAddr("fd00::100")}},
		{"engine = 'etcd'\nmember = 'a'\nendpoints = ['http://127.0.0.1:2379/']",
			Cluster{Engine: Etcd, Group: "default", Member: "a", Endpoints: []string{"http://127.0.0.1:2379"}, TTL: 10 * time.Second}},
		{"engine = 'etcd'\nmember = 'a'\nendpoints = ${ETCD}\nttl = 60",
			Cluster{Engine: Etcd, Group: "default", Member: "a", Endpoints: []string{"http://127.0.0.1:2379", "http://127.0.0.1:2381"}, TTL: time.Minute}},
		{"engine = 'etcd'\nmember = 'a'\ngroup = 'office'\nendpoints = ['https://${HOST}']\nuser = 'root'\npassword_file = '" + password + "'\nttl = 5",
			Cluster{Engine: Etcd, Group: "office", Member: "a", Endpoints: []string{"https://10.0.0.2"}, User: "root", Password: NewSecret("pa55"), TTL: 5 * time.Second}},
	} {
		got, err := parse("config.cfg", []byte("[report]\n"+token+"[cluster]\n"+tt.text), vars)
		if err != nil || !got.Cluster.Equal(tt.want) || len(got.Warnings) > 0 {
			t.Errorf("%s: got %+v, warnings %q, error %v, want %+v", tt.text, got.Cluster, got.Warnings, err, tt.want)
		}
	}
	text := "[report]\n" + token + "[cluster]\nengine = 'etcd'\nmember = 'a'\nendpoints = ['https://h']\n"
	got, err := parse("config.cfg", []byte(text+"cert_file = '"+cert+"'\nkey_file = '"+key+"'\nca_file = '"+cert+"'"), vars)
	if err != nil || got.Cluster.Certificate == nil || got.Cluster.RootCAs == nil || len(got.Warnings) > 0 {
		t.Errorf("got %+v, warnings %q, error %v, want a certificate and roots", got.Cluster, got.Warnings, err)
	}
	plain, err := parse("config.cfg", []byte(text), vars)
	if err != nil || plain.Cluster.Equal(got.Cluster) || !got.Cluster.Equal(got.Cluster) {
		t.Errorf("got a cluster without a certificate equal to one with it, want them different")
	}
}

func TestWhatIsWrongWithAClusterIsSaid(t *testing.T) {
	cert, key := pair(t)
	_, otherKey := pair(t)
	password, empty := secretFile(t, "pa55\n"), secretFile(t, "\n")
	const etcd = "engine = 'etcd'\nmember = 'a'\nendpoints = ['https://h']\n"
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"engine = 3", []string{`cluster.engine: an integer, want "none", "alive", "address" or "etcd"`}},
		{"engine = 'raft'", []string{`cluster.engine: "raft" is no engine, want none, alive, address or etcd`}},
		{"engine = 'alive'\nmember = 'a b'", []string{`cluster.member: "a b" is no name`}},
		{"engine = 'alive'\nmember = ''", []string{`cluster.member: "" is no name`}},
		{"engine = 'address'\nmember = 'a'", []string{`cluster.address: missing, want the address that moves between your hosts, such as "10.0.0.100" or "fd00::100"`}},
		{"engine = 'address'\nmember = 'a'\naddress = '10.0.0.0/24'", []string{`cluster.address: "10.0.0.0/24" is no address`}},
		{"engine = 'address'\nmember = 'a'\naddress = 'fe80::1%eth0'", []string{`cluster.address: "fe80::1%eth0" has a zone`}},
		{"engine = 'address'\nmember = 'a'\naddress = '0.0.0.0'", []string{`cluster.address: "0.0.0.0" is no host's address`}},
		{"engine = 'address'\nmember = 'a'\naddress = '127.0.0.2'", []string{`cluster.address: "127.0.0.2" is on every host`}},
		{"engine = 'etcd'", []string{`cluster.endpoints: missing, want the client URLs of etcd, such as ["https://10.0.0.1:2379", "https://10.0.0.2:2379"]`}},
		{"engine = 'etcd'\nmember = '-é'\ngroup = '" + strings.Repeat("g", 65) + "'\nendpoints = []\nttl = 4\nuser = 'u'\ncert_file = '" + cert + "'", []string{
			"cluster.member: ", "cluster.group: ", "cluster.endpoints: an empty array", "cluster.cert_file: set without cluster.key_file, want both or neither",
			"cluster.user: set without cluster.password_file, want both or neither", "cluster.ttl: 4 is out of range, want 5 to 60 seconds",
		}},
		{"engine = 'etcd'\nendpoints = 'https://h'", []string{"cluster.endpoints: a string, want an array of strings"}},
		{"engine = 'etcd'\nendpoints = ['h:2379', 'https://u:pa55@h', 'https://h/v3', 'https://h', 'https://h/', 3, 'http://h:0', 'http://h?q', 'HTTPS://H']", []string{
			`cluster.endpoints[0]: "h:2379" is neither http:// nor https://`,
			`cluster.endpoints[1]: [redacted] has a user or password, want those at cluster.user and cluster.password_file`,
			`cluster.endpoints[2]: "https://h/v3" has a path`,
			`cluster.endpoints[4]: "https://h/" is there twice`,
			`cluster.endpoints[5]: an integer, want a string`,
			`cluster.endpoints[6]: "http://h:0" has no usable port`,
			`cluster.endpoints[7]: "http://h?…" has a query or fragment`,
			`cluster.endpoints[8]: "HTTPS://H" is there twice`,
		}},
		{etcd + "group = '" + strings.Repeat("g", 3000) + "'", []string{`cluster.group: "` + strings.Repeat("g", 80) + `" is no name`}},
		{etcd + "key_file = '" + key + "'", []string{"cluster.key_file: set without cluster.cert_file, want both or neither"}},
		{etcd + "cert_file = '" + cert + "'\nkey_file = '" + otherKey + "'", []string{"cluster.key_file: the certificate at cluster.cert_file and this key are no pair"}},
		{etcd + "cert_file = '" + cert + "'\nkey_file = '/no/such'", []string{`cluster.key_file: "/no/such": no such file or directory`}},
		{etcd + "ca_file = '" + key + "'", []string{"cluster.ca_file: "}},
		{etcd + "password_file = '" + password + "'", []string{"cluster.password_file: set without cluster.user, want both or neither"}},
		{etcd + "user = ''\npassword_file = '" + empty + "'", []string{`cluster.user: "" is no user`, `cluster.password_file: "` + empty + `" is empty`}},
		{etcd + "user = 'u'\npassword_file = 'pa55w0rd'", []string{"cluster.password_file: the file: no such file or directory"}},
		{etcd + "ttl = '10'", []string{"cluster.ttl: a string, want a whole number without quotes, 5 to 60 seconds"}},
	} {
		_, err := parse("config.cfg", []byte("[report]\n"+token+"[cluster]\n"+tt.text), noVariables)
		got := complaints(t, err, "config.cfg")
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%s: got the complaints %q, want %q", tt.text, got, tt.want)
		}
		if strings.Contains(strings.Join(got, "\n"), "pa55") {
			t.Errorf("%s: got %q, want no password in it", tt.text, got)
		}
	}
}

func TestOdditiesOfAClusterAreWarnings(t *testing.T) {
	cert, key := pair(t)
	oldCert, oldKey := pairUntil(t, time.Date(2020, 2, 1, 0, 0, 0, 0, time.UTC))
	password := secretFile(t, "pa55\n")
	login := "user = 'u'\npassword_file = '" + password + "'\n"
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"address = '10.0.0.1'\nttl = 10", []string{
			`cluster.address: has no effect with cluster.engine = "none", only with "address"`,
			`cluster.ttl: has no effect with cluster.engine = "none", only with "etcd"`,
		}},
		{"engine = 'alive'\ngroup = 'g'\npassword_file = '/no/such'", []string{"cluster.group: has no effect", "cluster.password_file: has no effect"}},
		{"engine = 'address'\naddress = '10.0.0.1'\nendpoints = ['http://h']", []string{"cluster.endpoints: has no effect"}},
		{"engine = 'etcd'\naddress = '10.0.0.1'\nendpoints = ['http://h']", []string{"cluster.address: has no effect"}},
		{"engine = 'etcd'\nendpoints = ['http://h', 'https://h', 'http://[::1]:2379', 'HTTP://10.0.0.1']\n" + login, []string{
			"cluster.endpoints: http://h is not encrypted, so everybody on the way can read the password",
			"cluster.endpoints: HTTP://10.0.0.1 is not encrypted",
		}},
		{"engine = 'etcd'\nendpoints = ['http://h']\ncert_file = '" + cert + "'\nkey_file = '" + key + "'\nca_file = '" + cert + "'", []string{
			"cluster.ca_file: has no effect, since no endpoint is https://", "cluster.cert_file: has no effect", "cluster.key_file: has no effect",
		}},
		{"engine = 'etcd'\nendpoints = ['https://h']\n" + login, nil},
		{"engine = 'etcd'\nendpoints = ['https://h']\ncert_file = '" + cert + "'\nkey_file = '" + key + "'", nil},
		{"engine = 'etcd'\nendpoints = ['https://h']\ncert_file = '" + oldCert + "'\nkey_file = '" + oldKey + "'", []string{
			"cluster.cert_file: it is valid from 0001-01-01T00:00:00Z to 2020-02-01T00:00:00Z, and not by the clock of this host, so etcd does not accept it: renew it, or correct the clock",
		}},
	} {
		got, err := parse("config.cfg", []byte("[report]\n"+token+"[cluster]\nmember = 'a'\n"+tt.text), noVariables)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
		}
		warnings := slices.DeleteFunc(got.Warnings, func(w string) bool { return strings.Contains(w, "cluster.member") })
		if !slices.EqualFunc(warnings, tt.want, func(got, want string) bool { return strings.HasPrefix(got, "config.cfg: "+want) }) {
			t.Errorf("%s: got the warnings %q, want %q", tt.text, warnings, tt.want)
		}
	}
	for _, path := range []string{password, key} {
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := parse("config.cfg", []byte("[report]\n"+token+"[cluster]\nengine = 'etcd'\nmember = 'a'\nendpoints = ['https://h']\ncert_file = '"+cert+"'\nkey_file = '"+key+"'\n"+login), noVariables)
	if said := strings.Join(got.Warnings, "\n"); err != nil || len(got.Warnings) != 2 ||
		!strings.Contains(said, "can read the key: the mode of its file is 0644") || !strings.Contains(said, "can read the password: the mode of its file is 0644, want 0640 or less (chmod o-rwx "+password+")") {
		t.Errorf("got the warnings %q and %v, want one about each file", said, err)
	}
}

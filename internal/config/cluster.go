package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultTTL     = 10 // seconds
	minTTL, maxTTL = 5, 60
	defaultGroup   = "default"
	maxName        = 64 // bytes of a group's and a member's name, as of a host's
	maxEndpoints   = 9  // members of an etcd cluster: more make it slower, and no safer

	maxKeySize      = 1 << 20 // bytes of a file of certificates or with a key
	maxPasswordSize = 4 << 10
)

// Engine names how it is decided which of several daemons reports.
type Engine string

// The engines.
const (
	NoEngine Engine = "none"    // the daemon is alone
	Alive    Engine = "alive"   // none: each reports what is up, and no death
	Address  Engine = "address" // the host that has an address reports
	Etcd     Engine = "etcd"    // etcd elects who reports
)

// Cluster is the table [cluster]: how several daemons share a page.
type Cluster struct {
	Engine Engine
	Group  string     // of the daemons that share the duty
	Member string     // the name of this daemon in it; empty with NoEngine
	Addr   netip.Addr // valid with Address alone

	// With Etcd alone.
	Endpoints   []string         // http or https URLs without a path
	RootCAs     *x509.CertPool   // the system's roots and those of ca_file; nil means the system's
	Certificate *tls.Certificate // of this client; nil: none
	User        string           // empty: none
	Password    Secret           // not empty with a User
	TTL         time.Duration    // of the duty: 5 to 60 s
}

// Equal reports whether c and d are the same.
func (c Cluster) Equal(d Cluster) bool {
	return c.Engine == d.Engine && c.Group == d.Group && c.Member == d.Member && c.Addr == d.Addr &&
		slices.Equal(c.Endpoints, d.Endpoints) && c.User == d.User && c.Password == d.Password && c.TTL == d.TTL &&
		(c.RootCAs == nil) == (d.RootCAs == nil) && (c.RootCAs == nil || c.RootCAs.Equal(d.RootCAs)) &&
		sameCertificate(c.Certificate, d.Certificate)
}

func sameCertificate(a, b *tls.Certificate) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
}

// engineKeys returns the keys that have an effect with an engine alone.
func engineKeys() map[string][]Engine {
	etcd := []Engine{Etcd}
	return map[string][]Engine{
		"cluster.group": etcd, "cluster.member": {Alive, Address, Etcd}, "cluster.address": {Address},
		"cluster.endpoints": etcd, "cluster.ca_file": etcd, "cluster.cert_file": etcd, "cluster.key_file": etcd,
		"cluster.user": etcd, "cluster.password_file": etcd, "cluster.ttl": etcd,
	}
}

// cluster returns what the table [cluster] says.
func (d *document) cluster() Cluster {
	c := Cluster{Engine: d.engine("cluster.engine")}
	if c.Engine == NoEngine {
		return c
	}
	c.Member = d.member("cluster.member")
	switch c.Engine {
	case Address:
		c.Addr = d.address("cluster.address")
	case Etcd:
		c.Group = d.name("cluster.group", defaultGroup)
		c.Endpoints = d.endpoints("cluster.endpoints")
		c.RootCAs = d.rootCAs("cluster.ca_file")
		c.Certificate = d.keyPair("cluster.cert_file", "cluster.key_file")
		c.User, c.Password = d.login("cluster.user", "cluster.password_file")
		c.TTL = time.Duration(d.number("cluster.ttl", bounds{minTTL, maxTTL, " seconds"}, defaultTTL)) * time.Second
	}
	return c
}

// engine returns the engine at key, or NoEngine when there is none. Case does not
// matter, as with the level.
func (d *document) engine(key string) Engine {
	const want = `"none", "alive", "address" or "etcd"`
	if v := d.value(key); v != nil {
		if _, isText := v.(string); !isText {
			d.complain(key, "%s, want %s", kind(v), want)
			return NoEngine
		}
	}
	s, ok := d.text(key)
	if !ok {
		return NoEngine
	}
	switch e := Engine(strings.ToLower(s.value)); e {
	case NoEngine, Alive, Address, Etcd:
		return e
	}
	d.complain(key, "%q is no engine, want none, alive, address or etcd", s.written)
	return NoEngine
}

// name returns the name at key, or fallback when there is none.
func (d *document) name(key, fallback string) string {
	s, ok := d.text(key)
	if !ok {
		return fallback
	}
	if !isName(s.value) {
		d.complain(key, "%s is no name, want 1 to %d letters, digits, dots, dashes and underscores", shown(s.written), maxName)
	}
	return s.value
}

// member returns the name of this daemon, by default its host's.
func (d *document) member(key string) string {
	if d.value(key) != nil {
		return d.name(key, "")
	}
	host, err := os.Hostname()
	if err != nil || !isName(host) {
		d.complain(key, "missing, want a name for this daemon: that of its host is unknown, or not of 1 to %d letters, digits, dots, dashes and underscores", maxName)
	}
	return host
}

// isName reports whether s can be the name of a group or a member: it travels in
// keys, log lines and URLs.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("._-", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// address returns the address at key, without which its engine cannot work.
func (d *document) address(key string) netip.Addr {
	const want = `want the address that moves between your hosts, such as "10.0.0.100" or "fd00::100"`
	if d.value(key) == nil {
		d.complain(key, "missing, %s", want)
		return netip.Addr{}
	}
	s, ok := d.text(key)
	if !ok {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(s.value)
	switch {
	case err != nil:
		d.complain(key, "%s is no address, %s", shown(s.written), want)
	case addr.Zone() != "":
		d.complain(key, "%q has a zone, %s", s.written, want)
	case addr.Unmap().IsUnspecified() || addr.Unmap().IsMulticast():
		d.complain(key, "%q is no host's address, %s", s.written, want)
	case addr.Unmap().IsLoopback():
		d.complain(key, "%q is on every host, %s", s.written, want)
	}
	return addr.Unmap()
}

// endpoints returns the URLs at key, without which there is nobody to ask.
func (d *document) endpoints(key string) []string {
	const want = `["https://10.0.0.1:2379", "https://10.0.0.2:2379"]`
	var endpoints []string
	add := func(at string, s setting) {
		endpoint := strings.TrimRight(strings.TrimSpace(s.value), "/")
		problem := endpointProblem(endpoint)
		if u, err := url.Parse(endpoint); problem == "" && err == nil && u.Path != "" {
			problem = "has a path"
		}
		switch {
		case problem == "has a user or password":
			d.complain(at, "%s %s, want those at cluster.user and cluster.password_file", shown(s.written), problem)
		case problem != "":
			d.complain(at, "%s %s, want an http or https URL with a host and perhaps a port, such as https://10.0.0.1:2379", shown(s.written), problem)
		case slices.ContainsFunc(endpoints, func(e string) bool { return strings.EqualFold(e, endpoint) }):
			d.complain(at, "%s is there twice, want each member of etcd once", shown(s.written))
		default:
			endpoints = append(endpoints, endpoint)
		}
	}
	switch v := d.value(key).(type) {
	case nil:
		d.complain(key, "missing, want the client URLs of etcd, such as %s", want)
	case []any:
		if len(v) == 0 {
			d.complain(key, "an empty array, want the client URLs of etcd, such as %s", want)
		}
	}
	d.list(key, listWords{
		list:  "an array of strings, such as " + want,
		item:  "a string (text in double quotes)",
		empty: "URL, want at least one",
	}, add)
	if len(endpoints) > maxEndpoints {
		d.complain(key, "%d URLs, want at most %d", len(endpoints), maxEndpoints)
	}
	return endpoints
}

// keyPair returns the certificate in the files at the two keys, or nil when there is
// none.
func (d *document) keyPair(certKey, keyKey string) *tls.Certificate {
	hasCert, hasKey := d.value(certKey) != nil, d.value(keyKey) != nil
	switch {
	case hasCert && !hasKey:
		d.complain(certKey, "set without %s, want both or neither", keyKey)
	case hasKey && !hasCert:
		d.complain(keyKey, "set without %s, want both or neither", certKey)
	}
	cert, certOK := d.fileAt(certKey)
	key, keyOK := d.fileAt(keyKey)
	if !certOK || !keyOK {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		d.complain(keyKey, "the certificate at %s and this key are no pair: %s", certKey, strings.TrimPrefix(err.Error(), "tls: "))
		return nil
	}
	return &pair
}

// fileAt returns the content of the file that key names; false if there is none.
func (d *document) fileAt(key string) ([]byte, bool) {
	s, ok := d.text(key)
	if !ok {
		return nil, false
	}
	if strings.HasSuffix(key, ".key_file") {
		d.secretIn(key, "the key", s)
	}
	return d.file(key, s, strconv.Quote(s.written), maxKeySize)
}

// login returns the user at key and the password in the file at fileKey; none when
// there is neither.
func (d *document) login(key, fileKey string) (string, Secret) {
	hasUser, hasPassword := d.value(key) != nil, d.value(fileKey) != nil
	switch {
	case hasUser && !hasPassword:
		d.complain(key, "set without %s, want both or neither", fileKey)
	case hasPassword && !hasUser:
		d.complain(fileKey, "set without %s, want both or neither", key)
	}
	user, ok := d.text(key)
	if ok && (user.value == "" || strings.ContainsFunc(user.value, func(r rune) bool { return r < ' ' || r == 0x7f })) {
		d.complain(key, "%q is no user, want the name of one of etcd", user.written)
	}
	s, ok := d.text(fileKey)
	if !ok {
		return user.value, Secret{}
	}
	shown := strconv.Quote(s.written)
	if !strings.Contains(s.written, "/") {
		shown = "the file" // or else it is the password itself
	}
	d.secretIn(fileKey, "the password", s)
	data, ok := d.file(fileKey, s, shown, maxPasswordSize)
	password, cut := strings.CutSuffix(string(data), "\n")
	if cut {
		password = strings.TrimSuffix(password, "\r")
	}
	if ok && password == "" {
		d.complain(fileKey, "%s is empty, want the password of cluster.user in it", shown)
	}
	return user.value, NewSecret(password)
}

// oddities returns a sentence for each setting of the table [cluster] that has no
// effect, or by which a password can be read on the way.
func (d *document) oddities(c Cluster) []string {
	var warnings []string
	say := func(key, format string, operands ...any) {
		warnings = append(warnings, oneLine(d.path+": "+key+": "+fmt.Sprintf(format, operands...)))
	}
	effective := engineKeys()
	for _, key := range keys() {
		engines, ofCluster := effective[key]
		if ofCluster && d.value(key) != nil && !slices.Contains(engines, c.Engine) {
			var names []string
			for _, e := range engines {
				names = append(names, strconv.Quote(string(e)))
			}
			say(key, "has no effect with cluster.engine = %q, only with %s", c.Engine, strings.Join(names, ", "))
		}
	}
	secure := 0
	for _, endpoint := range c.Endpoints {
		switch {
		case strings.HasPrefix(strings.ToLower(endpoint), "https:"):
			secure++
		case c.User != "" && isPlain(endpoint):
			say("cluster.endpoints", "%s is not encrypted, so everybody on the way can read the password, want https:// (or http:// to this host itself)", endpoint)
		}
	}
	if cert := c.Certificate; cert != nil && secure > 0 && cert.Leaf != nil {
		if now := time.Now(); now.Before(cert.Leaf.NotBefore) || now.After(cert.Leaf.NotAfter) {
			say("cluster.cert_file", "it is valid from %s to %s, and not by the clock of this host, so etcd does not accept it: renew it, or correct the clock",
				cert.Leaf.NotBefore.UTC().Format(time.RFC3339), cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	if c.Engine == Etcd && secure == 0 {
		for _, key := range []string{"cluster.ca_file", "cluster.cert_file", "cluster.key_file"} {
			if d.value(key) != nil {
				say(key, "has no effect, since no endpoint is https://")
			}
		}
	}
	return warnings
}

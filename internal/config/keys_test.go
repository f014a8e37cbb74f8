//go:debug x509negativeserial=1

package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What complaints allow, as they say it.
const (
	wantToken    = "want the token of your Crisp Status reporter, from your Crisp dashboard"
	wantURL      = "want an http or https URL with a host and perhaps a port and a path, such as https://report.crisp.watch/v1"
	wantInterval = "want a whole number, 1 to 3600 seconds"
	wantFile     = "want a file that this user can read (a relative path starts at the folder of the configuration file)"
	wantString   = "want a string (text in double quotes)"
	wantTOML     = "want TOML: key = value, with text in double quotes"
	missing      = "report.token: missing, want the token of your Crisp Status reporter, from your Crisp dashboard, here or in report.token_file"
)

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"empty file", "", []string{missing}},
		{"all complaints at once", "[server]\nlog_level = true\n[report]\nendpoint = 'ftp://h'\ntoken = ''\n[probe]\ninterval = 0\nworkers = 'a'\nca_file = ''", []string{
			`server.log_level: a boolean, want "debug", "info", "warn" or "error"`,
			`report.endpoint: "ftp://h" is neither http:// nor https://, ` + wantURL,
			"report.token: empty, " + wantToken,
			"probe.interval: 0 is out of range, want 1 to 3600 seconds",
			"probe.workers: a string, want a whole number without quotes, 1 to 100000",
			"probe.ca_file: empty, want the path of a file",
		}},

		{"table is a number", "report = 3", []string{"report: an integer, want one table, [report]"}},
		{"table is an array of tables", "[[report]]\n" + token, []string{"report: an array of tables, want one table, [report]"}},
		{"table is text", "probe = 'x'\n[report]\n" + token, []string{"probe: a string, want one table, [probe]"}},
		{"key is a table", "[report.token]\nvalue = 'x'", []string{"report.token: a table, " + wantString}},

		{"level unknown", "server.log_level = 'loud'\n[report]\n" + token, []string{`server.log_level: "loud" is no level, want debug, info, warn or error`}},
		{"level empty", "server.log_level = ''\n[report]\n" + token, []string{`server.log_level: "" is no level, want debug, info, warn or error`}},
		{"format unknown", "server.log_format = 'xml'\n[report]\n" + token, []string{`server.log_format: "xml" is no format, want text or json`}},
		{"format is no text", "server.log_format = 1\n[report]\n" + token, []string{`server.log_format: an integer, want "text" or "json"`}},
		{"level of another logger", "server.log_level = 'warning'\n[report]\n" + token, []string{`server.log_level: "warning" is no level, want debug, info, warn or error`}},

		{"endpoint a list", "report.endpoint = ['http://h']\nreport." + token, []string{"report.endpoint: an array, " + wantString}},
		{"endpoint empty", "report.endpoint = ''\nreport." + token, []string{`report.endpoint: "" is empty, ` + wantURL}},
		{"endpoint with a host that is not Unicode", "report.endpoint = 'https://h%ff/v1'\nreport." + token, []string{`report.endpoint: "https://h%ff/v1" is not Unicode, ` + wantURL}},
		{"endpoint without a scheme", "report.endpoint = 'h.example.com/v1'\nreport." + token, []string{`report.endpoint: "h.example.com/v1" is neither http:// nor https://, ` + wantURL}},
		{"endpoint without a host", "report.endpoint = 'https://'\nreport." + token, []string{`report.endpoint: "https://" has no host, ` + wantURL}},
		{"endpoint of a port only", "report.endpoint = 'https://:443/v1'\nreport." + token, []string{`report.endpoint: "https://:443/v1" has no host, ` + wantURL}},
		{"endpoint with a port too high", "report.endpoint = 'https://h:65536'\nreport." + token, []string{`report.endpoint: "https://h:65536" has no usable port, ` + wantURL}},
		{"endpoint with port 0", "report.endpoint = 'https://h:0'\nreport." + token, []string{`report.endpoint: "https://h:0" has no usable port, ` + wantURL}},
		{"endpoint with a query", "report.endpoint = 'https://h/v1?a=b'\nreport." + token, []string{`report.endpoint: "https://h/v1?…" has a query or fragment, ` + wantURL}},
		{"endpoint with a fragment", "report.endpoint = 'https://h/v1#'\nreport." + token, []string{`report.endpoint: "https://h/v1#" has a query or fragment, ` + wantURL}},
		{"endpoint no URL", "report.endpoint = 'https://a b'\nreport." + token, []string{`report.endpoint: "https://a b" is no URL, ` + wantURL}},
		{"endpoint with a password", "report.endpoint = 'https://u:hunter2@h'\nreport." + token, []string{"report.endpoint: [redacted] has a user or password, " + wantURL}},
		{"endpoint with a password, no URL", "report.endpoint = 'https://u:hunter2%@h'\nreport." + token, []string{"report.endpoint: [redacted] is no URL, " + wantURL}},

		{"token empty", "report.token = ''", []string{"report.token: empty, " + wantToken}},
		{"token the sample", "report.token = ' YOUR_CRISP_REPORTER_TOKEN'", []string{"report.token: still the sample YOUR_CRISP_REPORTER_TOKEN, " + wantToken}},
		{"token without quotes, a number", "report.token = 12345", []string{"report.token: an integer, " + wantString}},
		{"token without quotes, a date", "report.token = 2026-01-02", []string{"report.token: a date or time, " + wantString}},
		{"token without quotes, a float", "report.token = 1e5", []string{"report.token: a float, " + wantString}},
		{"token with a blank before it", "report.token = ' abc'", []string{"report.token: begins or ends with a blank, " + wantToken}},
		{"token with a blank after it", "report.token = 'abc '", []string{"report.token: begins or ends with a blank, " + wantToken}},
		{"token with a line break", `report.token = "abc\n"`, []string{"report.token: has a control character in it, such as a line break or a tab, " + wantToken}},
		{"token with a NUL", `report.token = "a\u0000bc"`, []string{"report.token: has a control character in it, such as a line break or a tab, " + wantToken}},
		{"token with DEL", `report.token = "a\u007fbc"`, []string{"report.token: has a control character in it, such as a line break or a tab, " + wantToken}},
		{"token with a zero-width space", `report.token = "a\u200bbc"`, []string{"report.token: has an invisible character in it, " + wantToken}},
		{"token with a no-break space", `report.token = "abc\u00a0"`, []string{"report.token: has an invisible character in it, " + wantToken}},
		{"token too long", "report.token = '" + strings.Repeat("x", 4097) + "'", []string{"report.token: longer than 4096 bytes, " + wantToken}},
		{"token and token_file", "report.token = 'YOUR_CRISP_REPORTER_TOKEN'\nreport.token_file = '/dev/null'", []string{
			"report.token: set together with report.token_file, want only one of them",
			"report.token: still the sample YOUR_CRISP_REPORTER_TOKEN, " + wantToken,
			"report.token_file: empty, " + wantToken,
		}},
		{"token_file a number", "report.token_file = 3", []string{"report.token_file: an integer, " + wantString}},
		{"token_file empty path", "report.token_file = ''", []string{"report.token_file: empty, want the path of a file"}},
		{"token_file missing", "report.token_file = '/nonexistent/file'", []string{`report.token_file: "/nonexistent/file": no such file or directory, ` + wantFile}},
		{"token in the place of token_file", "report.token_file = '9b1e3f0c'", []string{"report.token_file: the file: no such file or directory, " + wantFile}},

		{"interval 0", "probe.interval = 0\nreport." + token, []string{"probe.interval: 0 is out of range, want 1 to 3600 seconds"}},
		{"interval 3601", "probe.interval = 3601\nreport." + token, []string{"probe.interval: 3601 is out of range, want 1 to 3600 seconds"}},
		{"interval negative", "probe.interval = -120\nreport." + token, []string{"probe.interval: -120 is out of range, want 1 to 3600 seconds"}},
		{"interval beyond 32 bits", "probe.interval = 4294967356\nreport." + token, []string{"probe.interval: 4294967356 is out of range, want 1 to 3600 seconds"}},
		{"interval a float", "probe.interval = 60.0\nreport." + token, []string{"probe.interval: a float, " + wantInterval}},
		{"interval in quotes", "probe.interval = '60'\nreport." + token, []string{"probe.interval: a string, want a whole number without quotes, 1 to 3600 seconds"}},
		{"promise below the interval", "probe.interval = 300\nreport.promise = 299\nreport." + token, []string{"report.promise: 299 is out of range, want 300 to 3600 seconds, no less than probe.interval"}},
		{"promise below the default interval", "report.promise = 60\nreport." + token, []string{"report.promise: 60 is out of range, want 120 to 3600 seconds, no less than probe.interval"}},
		{"promise 3601", "report.promise = 3601\nreport." + token, []string{"report.promise: 3601 is out of range, want 120 to 3600 seconds, no less than probe.interval"}},
		{"promise in quotes", "report.promise = '600'\nreport." + token, []string{"report.promise: a string, want a whole number without quotes, 120 to 3600 seconds, no less than probe.interval"}},
		{"promise beside a refused interval", "probe.interval = 0\nreport.promise = 60\nreport." + token, []string{"probe.interval: 0 is out of range, want 1 to 3600 seconds"}},
		{"promise of the interval", "probe.interval = 60\nreport.promise = 60\nreport." + token, nil},
		{"workers 0", "probe.workers = 0\nreport." + token, []string{"probe.workers: 0 is out of range, want 1 to 100000"}},
		{"workers 100001", "probe.workers = 100001\nreport." + token, []string{"probe.workers: 100001 is out of range, want 1 to 100000"}},
		{"ca_file a boolean", "probe.ca_file = false\nreport." + token, []string{"probe.ca_file: a boolean, " + wantString}},
		{"ca_file missing", "probe.ca_file = '/nonexistent/ca.pem'\nreport." + token, []string{`probe.ca_file: "/nonexistent/ca.pem": no such file or directory, ` + wantFile}},
		{"ca_file without a certificate", "probe.ca_file = '/dev/null'\nreport." + token, []string{`probe.ca_file: "/dev/null": no certificate in it, want PEM with at least one (-----BEGIN CERTIFICATE-----)`}},

		{"syntax error", "[server]\n\nlog_level = \n", []string{`line 3: expected value but found '\n' instead, ` + wantTOML}},
		{"syntax error after a variable", "[report]\ntoken = ${T}\nendpoint = \"\"\"\n${E}\n\"\"\"\nlog", []string{"line 6: unexpected EOF; expected key separator '=', " + wantTOML}},
		{"key twice", "[report]\ntoken = 'abc'\ntoken = 'abc'", []string{"line 3: key 'report.token' has already been defined, " + wantTOML}},
		{"a control character", "[report]\ntoken = 'a\x01b'", []string{"line 2: TOML files cannot contain control characters: something else, " + wantTOML}},
		{"token without quotes, text", "[report]\ntoken = topsecret", []string{"line 2: expected value but found something else instead, " + wantTOML}},
		{"token without quotes, too many digits", "[report]\ntoken = 99999999999999999999", []string{"line 2: a number is out of range for int64, " + wantTOML}},
		{"token without quotes, digits and dashes", "[report]\ntoken = 1234-5678", []string{"line 2: invalid datetime: something else, " + wantTOML}},
		{"not UTF-8", "[server]\n# caf\xe9\n", []string{"line 2: not UTF-8, want a text file saved as UTF-8"}},
		{"UTF-16", "\xff\xfe[\x00s\x00", []string{"line 1: not UTF-8, want a text file saved as UTF-8"}},
		{"byte order mark of UTF-8", "\xef\xbb\xbf[report]\n" + token, nil},
		{"lines of Windows", "[report]\r\ntoken = ${T}\r\n", []string{"report.token: variable T is not set, want it in the environment of the daemon"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse("config.cfg", []byte(tt.text), noVariables)
			if got := complaints(t, err, "config.cfg"); !slices.Equal(got, tt.want) {
				t.Errorf("%q:\ngot  %q\nwant %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestTokenFile(t *testing.T) {
	for _, tt := range []struct{ name, content, token, want string }{
		{"no newline", "t0k3n", "t0k3n", ""},
		{"a newline", "t0k3n\n", "t0k3n", ""},
		{"a newline of Windows", "t0k3n\r\n", "t0k3n", ""},
		{"the longest", strings.Repeat("x", 4095) + "\n", strings.Repeat("x", 4095), ""},
		{"two newlines", "t0k3n\n\n", "", "report.token_file: has a control character in it, such as a line break or a tab, " + wantToken},
		{"a carriage return only", "t0k3n\r", "", "report.token_file: has a control character in it, such as a line break or a tab, " + wantToken},
		{"a blank at the end", "t0k3n \n", "", "report.token_file: begins or ends with a blank, " + wantToken},
		{"a byte order mark", "\xef\xbb\xbft0k3n\n", "", "report.token_file: has an invisible character in it, " + wantToken},
		{"not UTF-8", "t0k3n\xff\n", "", "report.token_file: not UTF-8, " + wantToken},
		{"empty", "", "", "report.token_file: empty, " + wantToken},
		{"only a newline", "\n", "", "report.token_file: empty, " + wantToken},
		{"the sample", "YOUR_CRISP_REPORTER_TOKEN\n", "", "report.token_file: still the sample YOUR_CRISP_REPORTER_TOKEN, " + wantToken},
		{"too large", strings.Repeat("x", 4097), "", "report.token_file: the file: too large, want at most 4096 bytes"},
		{"a variable, which is not expanded", "${HOME}", "${HOME}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Relative to the folder of the configuration, not to the working directory.
			path := filepath.Join(filepath.Dir(write(t, "token", tt.content)), "config.cfg")
			got, err := parse(path, []byte("report.token_file = 'token'"), noVariables)
			if complaint := strings.Join(complaints(t, err, path), "\n"); complaint != tt.want {
				t.Errorf("got complaint %q, want %q", complaint, tt.want)
			}
			if got.Token.Reveal() != tt.token {
				t.Errorf("got token %q, want %q", got.Token.Reveal(), tt.token)
			}
		})
	}
}

func TestTokenFileOfSystemd(t *testing.T) {
	folder := filepath.Dir(write(t, "token", "t0k3n\n"))
	lookup := environment(map[string]string{"CREDENTIALS_DIRECTORY": folder})
	got, err := parse("config.cfg", []byte(`report.token_file = "${CREDENTIALS_DIRECTORY}/token"`), lookup)
	if err != nil || got.Token.Reveal() != "t0k3n" {
		t.Errorf("got token %q, %v, want t0k3n", got.Token.Reveal(), err)
	}
}

func TestTokenFileIsADirectory(t *testing.T) {
	folder := t.TempDir()
	_, err := parse("config.cfg", []byte("report.token_file = '"+folder+"'"), noVariables)
	want := []string{`report.token_file: "` + folder + `": is a directory, ` + wantFile}
	if got := complaints(t, err, "config.cfg"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// certificate returns a new CA and its PEM.
func certificate(t *testing.T) (*x509.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "a private CA"},
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestCAFileIsAddedToTheSystemsRoots(t *testing.T) {
	first, firstPEM := certificate(t)
	second, secondPEM := certificate(t)
	path := filepath.Join(filepath.Dir(write(t, "ca.pem", "# two of ours\n"+firstPEM+"\n"+secondPEM)), "config.cfg")
	got, err := parse(path, []byte("probe.ca_file = 'ca.pem'\nreport."+token), noVariables)
	if err != nil {
		t.Fatal(err)
	}
	want, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	want.AddCert(first)
	want.AddCert(second)
	if !got.RootCAs.Equal(want) {
		t.Error("got other roots, want the system's and the two of ca_file")
	}
}

// changed returns the certificate with some of its bytes replaced by as many.
func changed(t *testing.T, whole, from, to string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(whole))
	if !bytes.Contains(block.Bytes, []byte(from)) || len(from) != len(to) {
		t.Fatalf("%q is not in the certificate, or not as long as %q", from, to)
	}
	block.Bytes = bytes.ReplaceAll(block.Bytes, []byte(from), []byte(to))
	return string(pem.EncodeToMemory(block))
}

// Devices make such serial numbers of random bytes.
func TestCAFileWithANegativeSerialNumber(t *testing.T) {
	_, whole := certificate(t)
	negative := changed(t, whole, "\xa0\x03\x02\x01\x02\x02\x01\x01", "\xa0\x03\x02\x01\x02\x02\x01\x81")
	path := filepath.Join(filepath.Dir(write(t, "ca.pem", negative)), "config.cfg")
	got, err := parse(path, []byte("probe.ca_file = 'ca.pem'\nreport."+token), noVariables)
	if err != nil {
		t.Fatal(err)
	}
	if system, err := x509.SystemCertPool(); err != nil || got.RootCAs.Equal(system) {
		t.Errorf("got the system's roots alone (%v), want the one of ca_file too", err)
	}
}

func TestCAFileThatIsBroken(t *testing.T) {
	_, whole := certificate(t)
	for _, tt := range []struct{ name, content, want string }{
		{"cut short", whole + whole[:len(whole)/2], "certificate 2 of 2 cannot be read: it is cut short, or not in PEM, want each in PEM and whole"},
		{"cut short, and another after it", whole[:len(whole)/2] + "\n" + whole, "certificate 1 of 2 cannot be read: it is cut short, or not in PEM, want each in PEM and whole"},
		{"not a certificate", strings.Replace(whole, "MII", "AAA", 1), "certificate 1 of 1 cannot be read: malformed certificate, want each in PEM and whole"},
		{"of a version that is none", whole + changed(t, whole, "\xa0\x03\x02\x01\x02", "\xa0\x03\x02\x01\x07") + whole,
			"certificate 2 of 3 (CN=a private CA) cannot be read: invalid version, want each in PEM and whole"},
		{"with a control character in its name", changed(t, whole, "a private", "\x1b[2Jivate"),
			"certificate 1 of 1 cannot be read: invalid RDNSequence: invalid attribute value: invalid PrintableString, want each in PEM and whole"},
		{"many", strings.Repeat(whole[:len(whole)/2]+"\n", 5), "certificate 1 of 5 cannot be read: it is cut short, or not in PEM; certificate 2 of 5 cannot be read: it is cut short, or not in PEM; " +
			"certificate 3 of 5 cannot be read: it is cut short, or not in PEM; and 2 more cannot, want each in PEM and whole"},
		{"another kind of PEM", strings.ReplaceAll(whole, "CERTIFICATE", "PUBLIC KEY"), "no certificate in it, want PEM with at least one (-----BEGIN CERTIFICATE-----)"},
		{"another kind does not make up for one", strings.ReplaceAll(whole, "CERTIFICATE", "PUBLIC KEY") + whole[:len(whole)/2], "certificate 1 of 1 cannot be read: it is cut short, or not in PEM, want each in PEM and whole"},
		{"too large", strings.Repeat("#", 4<<20+1), "too large, want at most 4194304 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "ca.pem", tt.content)
			_, err := parse("config.cfg", []byte("probe.ca_file = '"+path+"'\nreport."+token), noVariables)
			want := []string{`probe.ca_file: "` + path + `": ` + tt.want}
			if got := complaints(t, err, "config.cfg"); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestConfigurationFileThatCannotBeRead(t *testing.T) {
	folder := t.TempDir()
	locked := write(t, "config.cfg", "[report]\n"+token)
	if err := os.Chmod(locked, 0); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"missing", filepath.Join(folder, "config.cfg"), "no such file or directory, want a file that this user can read (name another with -c FILE)"},
		{"a directory", folder, "is a directory, want a file (Docker makes a directory where the path to mount is relative or does not exist: mount the absolute path of a file)"},
		{"too large", write(t, "config.cfg", strings.Repeat("#", 1<<20+1)), "too large, want at most 1048576 bytes"},
		{"no permission", locked, "permission denied, want a file that " + thisUser() + " can read (name another with -c FILE)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.path == locked && os.Geteuid() == 0 {
				t.Skip("root may read every file")
			}
			got, err := Load(tt.path, noVariables)
			if got := complaints(t, err, tt.path); !slices.Equal(got, []string{tt.want}) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !equal(got, Config{Path: tt.path}) {
				t.Errorf("got %+v with the error, want nothing but the path", got)
			}
		})
	}
}

// thisUser is how complaints call the user of the test.
func thisUser() string {
	return fmt.Sprintf("this user (uid %d, gid %d)", os.Geteuid(), os.Getegid())
}

// Root may read every file, so the error is made up.
func TestWhoMayNotReadIsSaid(t *testing.T) {
	denied := withoutPath(&fs.PathError{Op: "open", Path: "/etc/x", Err: syscall.EACCES})
	if got, want := configFileError(denied).Error(), "permission denied, want a file that "+thisUser()+" can read (name another with -c FILE)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTokenFileThatThisUserMayNotRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read every file")
	}
	path := write(t, "token", "t0k3n")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	_, err := parse("config.cfg", []byte("report.token_file = '"+path+"'"), noVariables)
	want := []string{`report.token_file: "` + path + `": permission denied, want a file that ` + thisUser() + " can read (a relative path starts at the folder of the configuration file)"}
	if got := complaints(t, err, "config.cfg"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSampleTokenIsAnErrorOfItsOwnWhenAllElseIsRight(t *testing.T) {
	sample := write(t, "token", "YOUR_CRISP_REPORTER_TOKEN\n")
	lookup := environment(map[string]string{"T": "YOUR_CRISP_REPORTER_TOKEN"})
	for _, tt := range []struct{ name, text, want string }{
		{"in the file", "report.token = 'YOUR_CRISP_REPORTER_TOKEN'", "report.token"},
		{"with blanks around it", "report.token = ' YOUR_CRISP_REPORTER_TOKEN '", "report.token"},
		{"in a variable", "report.token = ${T}", "report.token"},
		{"in token_file", "report.token_file = '" + sample + "'", "report.token_file"},
		{"with an unknown key", "report.tokne = 'x'\nreport.token = 'YOUR_CRISP_REPORTER_TOKEN'", "report.token"},
		{"with another complaint", "probe.interval = 0\nreport.token = 'YOUR_CRISP_REPORTER_TOKEN'", ""},
		{"with another complaint before it", "server.log_level = 'loud'\nreport.token = 'YOUR_CRISP_REPORTER_TOKEN'", ""},
		{"beside token_file", "report.token = 'YOUR_CRISP_REPORTER_TOKEN'\nreport.token_file = '" + sample + "'", ""},
		{"in another key alone", "report.endpoint = 'YOUR_CRISP_REPORTER_TOKEN'\nreport.token = 't'", ""},
		{"a token that begins like it", "report.token = 'YOUR_CRISP_REPORTER_TOKEN_2'", ""},
		{"another token", "probe.interval = 0\nreport.token = 't'", ""},
		{"no token", "", ""},
		{"all right", "report.token = 't'", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse("config.cfg", []byte(tt.text), lookup)
			got, _ := errors.AsType[SampleToken](err)
			if got.Key != tt.want {
				t.Errorf("got %q of error %v, want the key %q", got.Key, err, tt.want)
			}
		})
	}
}

func TestLargestConfigurationFile(t *testing.T) {
	text := "[report]\n" + token
	path := write(t, "config.cfg", text+strings.Repeat("#", 1<<20-len(text)))
	if _, err := Load(path, noVariables); err != nil {
		t.Errorf("got %v, want a file of exactly 1 MiB to load", err)
	}
}

func TestComplaintsAreOneLineEach(t *testing.T) {
	_, err := Load("no\nsuch\x1b[2Jfile", noVariables)
	if want := "no\uFFFDsuch\uFFFD[2Jfile: no such file or directory"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %q, want it to begin with %q", err, want)
	}
}

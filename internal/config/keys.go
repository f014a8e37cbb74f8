package config

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sirupsen/logrus"
)

const (
	sampleToken  = "YOUR_CRISP_REPORTER_TOKEN" // the one of config.cfg
	maxTokenSize = 4 << 10                     // bytes; it travels in a header, and servers limit those
	maxCAsSize   = 4 << 20                     // bytes, ten times the roots of a Linux distribution
)

// level returns the log level at key, or warn if there is none. Case does not matter;
// the original's undocumented off and trace are the nearest level.
func (d *document) level(key string) logrus.Level {
	if v := d.value(key); v != nil {
		if _, isText := v.(string); !isText {
			d.complain(key, "%s, want \"debug\", \"info\", \"warn\" or \"error\"", kind(v))
			return logrus.WarnLevel
		}
	}
	s, ok := d.text(key)
	if !ok {
		return logrus.WarnLevel
	}
	switch strings.ToLower(s.value) {
	case "debug", "trace":
		return logrus.DebugLevel
	case "info":
		return logrus.InfoLevel
	case "warn":
		return logrus.WarnLevel
	case "error", "off":
		return logrus.ErrorLevel
	}
	d.complain(key, "%q is no level, want debug, info, warn or error", s.written)
	return logrus.WarnLevel
}

// logFormat returns the format of the log at key, or text when there is none.
// Case does not matter, as with the level.
func (d *document) logFormat(key string) LogFormat {
	if v := d.value(key); v != nil {
		if _, isText := v.(string); !isText {
			d.complain(key, "%s, want \"text\" or \"json\"", kind(v))
			return Text
		}
	}
	s, ok := d.text(key)
	if !ok {
		return Text
	}
	switch format := LogFormat(strings.ToLower(s.value)); format {
	case Text, JSON:
		return format
	}
	d.complain(key, "%q is no format, want text or json", s.written)
	return Text
}

// promise returns the promise at key, or interval if there is none. Where the key
// of the interval was refused, nothing is known of the least.
func (d *document) promise(key, intervalKey string, interval time.Duration) time.Duration {
	allowed := bounds{int(interval / time.Second), maxPromise, fmt.Sprintf(" seconds, no less than %s", intervalKey)}
	if slices.ContainsFunc(d.complaints, func(c string) bool { return strings.Contains(c, ": "+intervalKey+": ") }) {
		allowed = bounds{minInterval, maxPromise, " seconds"}
	}
	return time.Duration(d.number(key, allowed, int(interval/time.Second))) * time.Second
}

// endpoint returns the URL at key, or the default when there is none, without
// blanks around it and slashes after it.
func (d *document) endpoint(key string) string {
	s, ok := d.text(key)
	if !ok {
		return defaultEndpoint
	}
	endpoint := strings.TrimRight(strings.TrimSpace(s.value), "/")
	if problem := endpointProblem(endpoint); problem != "" {
		d.complain(key, "%s %s, want an http or https URL with a host and perhaps a port and a path, such as %s", shown(s.written), problem, defaultEndpoint)
	}
	return endpoint
}

// endpointProblem returns the mistake in endpoint; "" if it is valid.
func endpointProblem(endpoint string) string {
	u, err := url.Parse(endpoint)
	switch {
	case endpoint == "":
		return "is empty"
	case err != nil:
		return "is no URL"
	case u.Scheme != "http" && u.Scheme != "https":
		return "is neither http:// nor https://"
	case u.User != nil:
		return "has a user or password"
	case u.Hostname() == "":
		return "has no host"
	case strings.ContainsRune(endpoint, utf8.RuneError), !utf8.ValidString(u.Hostname()):
		return "is not Unicode"
	case strings.ContainsAny(endpoint, "?#"):
		return "has a query or fragment"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "has no usable port"
		}
	}
	return ""
}

// token returns the token at key, or the one in the file that fileKey names.
// There is no default.
func (d *document) token(key, fileKey string) Secret {
	inline, inFile := d.value(key) != nil, d.value(fileKey) != nil
	switch {
	case inline && inFile:
		d.complain(key, "set together with %s, want only one of them", fileKey)
		d.tokenAt(key, d.text)
		d.tokenAt(fileKey, d.tokenFile)
	case inFile:
		return d.tokenAt(fileKey, d.tokenFile)
	case inline:
		if s, _ := d.value(key).(string); !variable.MatchString(s) { // else it is in the environment
			d.tokenIn = tokenPlace{key, d.path, quoteForShell(d.path)}
		}
		return d.tokenAt(key, d.text)
	case d.tree["report"] == nil || d.isTable("report"): // else that was the complaint
		d.complain(key, "missing, want the token of your Crisp Status reporter, from your Crisp dashboard, here or in %s", fileKey)
	}
	return Secret{}
}

// tokenAt returns the token that read finds at key.
func (d *document) tokenAt(key string, read func(string) (setting, bool)) Secret {
	s, ok := read(key)
	if !ok {
		return Secret{}
	}
	if isSample(s.value) {
		d.sampleAt = key
	}
	if problem := tokenProblem(s.value); problem != "" {
		d.complain(key, "%s, want the token of your Crisp Status reporter, from your Crisp dashboard", problem)
	}
	return NewSecret(s.value)
}

// tokenFile returns the content of the file that key names, without the
// newline that editors put at its end.
func (d *document) tokenFile(key string) (setting, bool) {
	s, ok := d.text(key)
	if !ok {
		return s, false
	}
	shown := strconv.Quote(s.written)
	if !strings.Contains(s.written, "/") {
		shown = "the file" // or else it is the token itself, in the wrong key
	}
	data, ok := d.file(key, s, shown, maxTokenSize)
	d.tokenIn = tokenPlace{key, d.resolve(s.value), quoteForShell(d.resolve(s.value))}
	if s.written != s.value {
		d.tokenIn.shown = `"` + s.written + `"`
	}
	token, cut := strings.CutSuffix(string(data), "\n")
	if cut {
		token = strings.TrimSuffix(token, "\r")
	}
	return setting{s.written, token}, ok
}

// isSample reports whether token is the one of config.cfg.
func isSample(token string) bool { return strings.TrimSpace(token) == sampleToken }

// tokenProblem returns the mistake in token; "" if it is valid. Blanks around it are
// not cut: a token that was copied badly may lack characters too.
func tokenProblem(token string) string {
	switch {
	case token == "":
		return "empty"
	case isSample(token):
		return "still the sample " + sampleToken
	case len(token) > maxTokenSize:
		return "longer than " + strconv.Itoa(maxTokenSize) + " bytes"
	case !utf8.ValidString(token):
		return "not UTF-8"
	case strings.ContainsFunc(token, unicode.IsControl):
		return "has a control character in it, such as a line break or a tab"
	case strings.ContainsFunc(token, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has an invisible character in it"
	case token != strings.TrimSpace(token):
		return "begins or ends with a blank"
	}
	return ""
}

// rootCAs returns the system's roots with the certificates of the file at key
// added, or nil when there is none.
func (d *document) rootCAs(key string) *x509.CertPool {
	s, ok := d.text(key)
	if !ok {
		return nil
	}
	data, ok := d.file(key, s, strconv.Quote(s.written), maxCAsSize)
	if !ok {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		d.complain(key, "reading the system's certificates: %v, want them readable", err)
		return nil
	}
	certificates, problems := parseCertificates(data)
	for _, certificate := range certificates {
		pool.AddCert(certificate)
	}
	switch {
	case len(certificates)+len(problems) == 0:
		d.complain(key, "%q: no certificate in it, want PEM with at least one (%s)", s.written, beginCertificate)
	case len(problems) > 0:
		// Leaving one out silently would be a replica that can never be healthy.
		d.complain(key, "%q: %s, want each in PEM and whole", s.written, listed(problems))
	}
	return pool
}

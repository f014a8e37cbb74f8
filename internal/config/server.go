package config

import (
	"net"
	"path"
	"strconv"
	"strings"
)

const (
	maxSocketPath = 107 // bytes that the kernel takes
	maxHosts      = 64  // names
	maxHost       = 253 // bytes of a name
)

// inet returns where the endpoint listens: an address with a port, or the
// absolute path of a unix socket; empty when there is none.
func (d *document) inet(key string) string {
	s, ok := d.text(key)
	if !ok {
		return ""
	}
	if problem := inetProblem(s.value); problem != "" {
		d.complain(key, "%s %s, want an address with a port, such as \"127.0.0.1:8112\", or the absolute path of a unix socket", shown(s.written), problem)
		return ""
	}
	return s.value
}

// inetProblem returns what is wrong with where the endpoint listens, nothing if
// it will do.
func inetProblem(where string) string {
	switch {
	case where == "":
		return "is empty"
	case strings.HasPrefix(where, "/") && len(where) > maxSocketPath:
		return "is longer than the " + strconv.Itoa(maxSocketPath) + " bytes of a socket's path"
	case strings.HasPrefix(where, "/") && (strings.HasSuffix(where, "/") || path.Clean(where) != where):
		return "is no path of a file"
	case strings.HasPrefix(where, "/"):
		return ""
	case strings.Contains(where, "://"):
		return "is a URL"
	}
	host, port, err := net.SplitHostPort(where)
	if err != nil {
		return "has no port"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "has no usable port"
	}
	if host == "" || host == "localhost" || net.ParseIP(strings.Split(host, "%")[0]) != nil {
		return ""
	}
	return "has a name for an address"
}

// names returns the names at key: an array of strings.
func (d *document) names(key string) []string {
	found := d.value(key)
	if found == nil {
		return nil
	}
	list, ok := found.([]any)
	if !ok || len(list) > maxHosts {
		d.complain(key, "%s, want an array of at most %d host names, such as [\"status.example\"]", kind(found), maxHosts)
		return nil
	}
	var names []string
	for _, v := range list {
		text, ok := v.(string)
		if !ok {
			d.complain(key, "%s in the array, want host names in double quotes", kind(v))
			return nil
		}
		s, ok := d.expand(key, text)
		switch {
		case !ok:
			return nil
		case s.value == "" || len(s.value) > maxHost || strings.ContainsAny(s.value, ":/@ \t"):
			d.complain(key, "%s is no host name, want one without a scheme and a port, such as \"status.example\"", shown(s.written))
			return nil
		}
		names = append(names, strings.ToLower(s.value))
	}
	return names
}

// flag returns the boolean at key, false when there is none. A string will do
// when a variable is in it: that is what a bare ${NAME} becomes.
func (d *document) flag(key string) bool {
	switch v := d.value(key).(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		if s, ok := d.expand(key, v); ok && variable.MatchString(v) {
			on, err := strconv.ParseBool(strings.TrimSpace(s.value))
			if err == nil {
				return on
			}
		}
		d.complain(key, "a string, want true or false without quotes")
	default:
		d.complain(key, "%s, want true or false", kind(v))
	}
	return false
}

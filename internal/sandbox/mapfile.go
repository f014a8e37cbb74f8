package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

// maxMapFile bounds a map file: 100,000 replicas take some 4 MiB.
const maxMapFile = 16 << 20

// readMapFile returns the text of a map file.
func readMapFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMapFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxMapFile {
		return nil, fmt.Errorf("reading %q: more than %d MiB", path, maxMapFile>>20)
	}
	return text, nil
}

// ParseMap reads a map file, in TOML:
//
//	[metrics]                  # optional, as is every field in it
//	retry = 2
//	delay_dead = 10            # seconds
//	delay_sick = 5             # seconds
//
//	[[service]]
//	name = "Shop"
//	[[service.node]]
//	name = "Website"
//	replicas = ["https://10.0.0.7/health", "target:http-slow#cart"]
//	http = { healthy_above = 200, healthy_below = 400, healthy_match = "ok", dead_match = "maintenance" }
//
// Replicas are URLs, handed out unchanged whether they can be probed or not, or
// own targets as target.ParseSpec reads them. The error holds every complaint.
func ParseMap(text []byte) (Map, error) {
	var m Map
	meta, err := toml.Decode(string(text), &m)
	if err != nil {
		if parse, ok := errors.AsType[toml.ParseError](err); ok {
			return Map{}, fmt.Errorf("line %d: %s", parse.Position.Line, cmp.Or(parse.Message, strings.TrimPrefix(parse.Error(), "toml: ")))
		}
		return Map{}, err
	}
	var complaints []error
	for _, key := range meta.Undecoded() {
		complaints = append(complaints, fmt.Errorf("%s: unknown key", key))
	}
	complaints = append(complaints, m.normalize())
	if err := errors.Join(complaints...); err != nil {
		return Map{}, err
	}
	return m, nil
}

// normalize gives every service and node an id and a name, and returns every
// complaint about a map that the API cannot have.
func (m *Map) normalize() error {
	var complaints []error
	services := make(map[string]bool)
	for i := range m.Services {
		s := &m.Services[i]
		s.ID, s.Name = cmp.Or(s.ID, s.Name), cmp.Or(s.Name, s.ID)
		switch {
		case s.ID == "":
			complaints = append(complaints, fmt.Errorf("service %d: name must be set", i+1))
		case services[s.ID]:
			complaints = append(complaints, fmt.Errorf("service %q: there are two", s.ID))
		}
		services[s.ID] = true
		nodes := make(map[string]bool)
		for j := range s.Nodes {
			n := &s.Nodes[j]
			n.ID, n.Name = cmp.Or(n.ID, n.Name), cmp.Or(n.Name, n.ID)
			switch {
			case n.ID == "":
				complaints = append(complaints, fmt.Errorf("service %q, node %d: name must be set", s.ID, j+1))
			case nodes[n.ID]:
				complaints = append(complaints, fmt.Errorf("service %q, node %q: there are two", s.ID, n.ID))
			}
			nodes[n.ID] = true
			if err := n.checkReplicas(); err != nil {
				complaints = append(complaints, fmt.Errorf("service %q, node %q: %w", s.ID, n.ID, err))
			}
		}
	}
	return errors.Join(complaints...)
}

func (n *Node) checkReplicas() error {
	seen := make(map[string]bool, len(n.Replicas))
	for _, raw := range n.Replicas {
		if seen[raw] {
			return fmt.Errorf("replica %q appears twice", mask(raw))
		}
		seen[raw] = true
		if !strings.HasPrefix(raw, target.Prefix) {
			continue
		}
		if _, err := target.ParseSpec(raw); err != nil {
			return err
		}
	}
	return nil
}

// mask hides the password of a URL. It accepts any text that resembles a URL,
// since the page shows every entry of a map.
func mask(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndex(rest[:end], "@")
	if at < 0 && strings.Contains(rest[:end], ":") {
		// user:pa/ss@host is no URL, but has a password all the same. If the @
		// belongs to the path, more than needed is hidden, which does no harm.
		if _, _, hasPort := cutPort(rest[:end]); !hasPort {
			at = strings.LastIndex(rest, "@")
		}
	}
	if at < 0 {
		return raw
	}
	user, _, hasPassword := strings.Cut(rest[:at], ":")
	if !hasPassword {
		return raw
	}
	return scheme + "://" + user + ":***" + rest[at:]
}

// cutPort splits host:port, where a port is digits only.
func cutPort(hostport string) (string, string, bool) {
	i := strings.LastIndex(hostport, ":")
	if i < 0 || strings.Trim(hostport[i+1:], "0123456789") != "" {
		return hostport, "", false
	}
	return hostport[:i], hostport[i+1:], true
}

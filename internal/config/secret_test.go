package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/sirupsen/logrus"
)

const hidden = "t0k3n-to-hide"

// hex is how %x prints the beginning of hidden.
const hex = "74306b33"

func TestSecretIsNeverPrinted(t *testing.T) {
	s := NewSecret(hidden)
	type inner struct{ secret Secret }
	type outer struct {
		Inner   inner
		pointer *Secret
		list    []Secret
		table   map[Secret]Secret
		any     any
	}
	values := map[string]any{
		"secret":            s,
		"pointer":           &s,
		"unexported field":  inner{s},
		"nested":            outer{inner{s}, &s, []Secret{s}, map[Secret]Secret{s: s}, inner{s}},
		"pointer to nested": &outer{inner{s}, &s, []Secret{s}, map[Secret]Secret{s: s}, &s},
		"slice":             []Secret{s},
		"map":               map[Secret]Secret{s: s},
		"config":            Config{Token: s},
		"error":             fmt.Errorf("sending %v: %w", s, Complaints{fmt.Sprint(s)}),
	}
	for name, value := range values {
		for verb := ' '; verb <= '~'; verb++ {
			for _, flags := range []string{"", "+", "#", "-30", "010", "+#", " ", ".3"} {
				got := fmt.Sprintf("%"+flags+string(verb), value)
				if strings.Contains(got, "t0k") || strings.Contains(strings.ToLower(strings.ReplaceAll(got, " ", "")), hex) {
					t.Errorf("%%%s%c of %s: got %q, want the secret hidden", flags, verb, name, got)
				}
			}
		}
		if got := fmt.Sprint(value) + fmt.Sprintln(value); strings.Contains(got, hidden) {
			t.Errorf("printing %s: got %q, want the secret hidden", name, got)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "[redacted]" {
			t.Errorf("%s: got %q, want [redacted]", verb, got)
		}
	}
	if got := s.String(); got != "[redacted]" {
		t.Errorf("String: got %q, want [redacted]", got)
	}
}

func TestSecretIsNeverEncoded(t *testing.T) {
	value := struct{ Token Secret }{NewSecret(hidden)}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(value); err != nil {
		t.Fatal(err)
	}
	if err := toml.NewEncoder(&out).Encode(value); err != nil {
		t.Fatal(err)
	}
	for _, formatter := range []logrus.Formatter{&logrus.TextFormatter{}, &logrus.JSONFormatter{}} {
		log := logrus.New()
		log.Out, log.Formatter = &out, formatter
		log.WithField("token", value.Token).WithField("config", value).Error(value, value.Token)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "token", value.Token, "config", value)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "token", value.Token, "config", value)
	if strings.Contains(out.String(), hidden) {
		t.Errorf("got %q, want the secret hidden", out.String())
	}
	if got := strings.Count(out.String(), redacted); got < 8 {
		t.Errorf("got %s %d times in %q, want it wherever the secret stood", redacted, got, out.String())
	}
}

func TestSecretIsKept(t *testing.T) {
	if got := NewSecret(hidden).Reveal(); got != hidden {
		t.Errorf("got %q, want %q", got, hidden)
	}
	if got := (Secret{}).Reveal(); got != "" {
		t.Errorf("got %q of the zero Secret, want nothing", got)
	}
	if NewSecret("") != (Secret{}) {
		t.Error("got an empty Secret that is not the zero one, want them equal")
	}
	if NewSecret(hidden) != NewSecret(strings.Clone(hidden)) {
		t.Error("got unequal Secrets of one text, want them equal: a reload compares them")
	}
	if NewSecret("a") == NewSecret("b") {
		t.Error("got equal Secrets of two texts, want them unequal")
	}
}

// Who writes a URL where none belongs is told so without what is in it.
func TestComplaintsShowNoSecretOfAURL(t *testing.T) {
	for _, key := range []string{
		"report.endpoint = '%s'", "server.inet = '%s'", "server.hosts = ['%s']", "probe.allow = ['%s']", "probe.deny = ['10.0.0.1', '%s']",
		"cluster = {engine = 'address', address = '%s'}", "cluster = {engine = 'etcd', group = '%s', endpoints = ['%s']}",
	} {
		for _, url := range []string{"http://u:hunter2@h:80/", "u:hunter2@10.0.0.1", "http://h:70000/?key=hunter2", "h:80?hunter2", "http://h:70000/#hunter2", "http://h/v1?a=hunter2#hunter2"} {
			text := strings.ReplaceAll(key, "%s", url) + "\nreport." + token
			_, err := parse("config.cfg", []byte(text), noVariables)
			if err == nil {
				t.Errorf("%s: taken, want a complaint", text)
			} else if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: got %q, want no secret in it", text, err)
			}
		}
	}
}

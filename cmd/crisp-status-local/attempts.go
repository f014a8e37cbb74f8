//go:build linux

package main

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// attemptsText returns the phases of attempts, and the certificate that the last
// of them met.
func attemptsText(s screen, attempts []status.Attempt) string {
	if len(attempts) == 0 {
		return ""
	}
	var b strings.Builder
	if s.narrow() {
		for i, a := range attempts {
			b.WriteString(s.fold(fmt.Sprintf("  %d  %s", i+1, phases(a)), 5))
		}
	} else {
		b.WriteString(attemptsTable(s, attempts))
	}
	for i := len(attempts) - 1; i >= 0; i-- {
		if t := attempts[i].TLS; t != nil && t.Subject != "" {
			b.WriteString(s.fold("  certificate  "+certificate(t), 15))
			break
		}
	}
	return b.String()
}

// attemptsTable has a row for each attempt.
func attemptsTable(s screen, attempts []status.Attempt) string {
	t := newTable("  attempt", "address", "dns", "connect", "tls", "first byte", "body", "ended with")
	if s.isTerminal() {
		t.SetColumnConfigs([]table.ColumnConfig{{Number: 8, WidthMax: max(20, s.width-80), WidthMaxEnforcer: text.WrapSoft}})
	}
	before := ""
	for i, a := range attempts {
		end := ending(a)
		if end == before && i > 0 {
			end = "the same"
		} else {
			before = end
		}
		t.AppendRow(table.Row{fmt.Sprintf("  %d", i+1), address(a), took(a.DNSSeconds), took(a.ConnectSeconds), handshake(a), took(a.FirstByteSeconds), took(a.BodySeconds), end})
	}
	return rendered(t)
}

// phases returns an attempt in a line.
func phases(a status.Attempt) string {
	var line strings.Builder
	line.WriteString(address(a))
	for _, phase := range []struct{ name, took string }{
		{"dns", took(a.DNSSeconds)}, {"connect", took(a.ConnectSeconds)}, {"tls", handshake(a)},
		{"first byte", took(a.FirstByteSeconds)}, {"body", took(a.BodySeconds)},
	} {
		if phase.took != "–" {
			line.WriteString(", " + phase.name + " " + phase.took)
		}
	}
	return line.String() + ": " + ending(a)
}

// address returns where an attempt went; of several addresses, how many there are.
func address(a status.Attempt) string {
	switch {
	case a.Address != "" && len(a.Addresses) > 1:
		return fmt.Sprintf("%s of %d", printable(a.Address), len(a.Addresses))
	case a.Address != "":
		return printable(a.Address)
	case len(a.Addresses) > 0:
		return printable(strings.Join(a.Addresses, " "))
	}
	return "–"
}

// handshake returns what TLS took, and its version.
func handshake(a status.Attempt) string {
	if a.TLS == nil || a.TLS.Version == "" || a.TLSSeconds <= 0 {
		return took(a.TLSSeconds)
	}
	return took(a.TLSSeconds) + " " + printable(a.TLS.Version)
}

// ending returns what an attempt ended with.
func ending(a status.Attempt) string {
	switch {
	case a.Reason != "":
		return printable(a.Reason)
	case a.Status != 0:
		return fmt.Sprintf("status %d in %s", a.Status, took(a.TotalSeconds))
	}
	return "up in " + took(a.TotalSeconds)
}

// certificate says whose a certificate is, and how long it holds.
func certificate(t *status.TLS) string {
	line := printable(t.Subject) + ", issued by " + printable(t.Issuer)
	if t.DaysLeft != nil {
		if line += fmt.Sprintf(", %s left", count(*t.DaysLeft, "day", "days")); *t.DaysLeft < 0 {
			line = strings.TrimSuffix(line, " left") + " (expired)"
		}
	}
	if t.Cipher != "" {
		line += ", " + printable(t.Cipher)
	}
	return line
}

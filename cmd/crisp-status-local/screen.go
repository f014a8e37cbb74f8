//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// screen is what a command writes to: a terminal, or a file that shall have the
// same text without colours and line breaks.
type screen struct {
	width, height int // 0: no terminal
	colored       bool
}

// newScreen returns the screen that w is.
func newScreen(w io.Writer, lookupEnv func(string) (string, bool)) screen {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return screen{}
	}
	s := screen{width: 80, height: 24}
	if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
		s.width, s.height = width, height
	}
	noColor, _ := lookupEnv("NO_COLOR")
	kind, _ := lookupEnv("TERM")
	if s.colored = noColor == "" && kind != "" && kind != "dumb"; s.colored {
		text.EnableColors()
	}
	return s
}

// isTerminal reports whether somebody looks at the screen.
func (s screen) isTerminal() bool { return s.width > 0 }

// narrow reports whether a table of replicas would not fit.
func (s screen) narrow() bool { return s.width > 0 && s.width < 100 }

// paint colours word where the screen has colours.
func (s screen) paint(word string, colors ...text.Color) string {
	if !s.colored {
		return word
	}
	return text.Colors(colors).Sprint(word)
}

// health returns a health in its colour.
func (s screen) health(health string) string {
	switch health {
	case "healthy":
		return s.paint(health, text.FgGreen)
	case "sick":
		return s.paint(health, text.FgYellow)
	case "dead":
		return s.paint(health, text.FgRed, text.Bold)
	}
	return s.paint(health, text.FgMagenta)
}

// mark is how what a line says is.
type mark int

const (
	right mark = iota
	odd        // it works; whether it is meant is for people to say
	wrong      // it has to be mended
)

// mark returns the sign before a line.
func (s screen) mark(m mark) string {
	switch m {
	case right:
		return s.paint("✔", text.FgGreen)
	case odd:
		return s.paint("!", text.FgYellow)
	}
	return s.paint("✘", text.FgRed, text.Bold)
}

// fold breaks line to the width of the screen, between words where it can, and
// indents what follows.
func (s screen) fold(line string, indent int) string {
	if s.width == 0 || text.StringWidthWithoutEscSequences(line) <= s.width {
		return line + "\n"
	}
	if indent > s.width/2 {
		indent = 2
	}
	var b strings.Builder
	column, begun := 0, false // whether the line has a word
	for i, word := range strings.Split(line, " ") {
		width := text.StringWidthWithoutEscSequences(word)
		switch {
		case begun && column+1+width > s.width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column, begun = indent, false
		case i > 0:
			b.WriteString(" ")
			column++
		}
		for ; column+width > s.width; width = text.StringWidthWithoutEscSequences(word) {
			part := firstColumns(word, s.width-column)
			b.WriteString(part + "\n" + strings.Repeat(" ", indent))
			word, column = word[len(part):], indent
		}
		b.WriteString(word)
		column, begun = column+width, begun || word != ""
	}
	return b.String() + "\n"
}

// foldHelp returns text about options for a screen that has no room for two columns:
// the second column stands below the first, and paragraphs are wrapped again.
func (s screen) foldHelp(text string) string {
	const usual, option, below = 80, 2, 6
	if s.width == 0 || s.width >= usual {
		return text
	}
	var b, paragraph strings.Builder
	end := func() {
		if paragraph.Len() > 0 {
			b.WriteString(s.fold(strings.TrimSuffix(paragraph.String(), " "), 0))
			paragraph.Reset()
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.TrimLeft(line, " ")
		switch indent := len(line) - len(words); {
		case line == "":
			end()
			b.WriteString("\n")
		case indent == 0:
			paragraph.WriteString(line + " ")
		case indent > 2*below: // goes on in the second column
			b.WriteString(s.fold(strings.Repeat(" ", below)+words, below))
		default:
			end()
			first, second, found := strings.Cut(words, "  ")
			b.WriteString(s.fold(strings.Repeat(" ", option)+first, 2*option))
			if found {
				b.WriteString(s.fold(strings.Repeat(" ", below)+strings.TrimLeft(second, " "), below))
			}
		}
	}
	end()
	return b.String()
}

// firstColumns returns the beginning of word that is so wide, at least a character.
func firstColumns(word string, width int) string {
	end := 0
	for i, r := range word {
		end = i + utf8.RuneLen(r)
		if rest := word[end:]; rest != "" && text.StringWidthWithoutEscSequences(word[:end]) >= width {
			return word[:end]
		}
	}
	return word[:end]
}

// wrap gives the columns of replicas and of reasons, of which other columns leave
// some width to both, as much as they need of it.
func (s screen) wrap(t table.Writer, replicas, reasons int, others, longest int) {
	if !s.isTerminal() {
		return
	}
	rest := s.width - others
	replica := min(longest, max(20, rest*3/5))
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: replicas, WidthMax: replica, WidthMaxEnforcer: text.WrapText},
		{Number: reasons, WidthMax: max(16, rest-replica), WidthMaxEnforcer: text.WrapSoft},
	})
}

// labelled is a line that begins with what it is about.
func (s screen) labelled(label, line string) string {
	const column = 12
	if s.width > 0 && s.width < 60 {
		return s.fold(label+": "+line, 2)
	}
	return s.fold(fmt.Sprintf("%-*s%s", column, label, line), column)
}

// newTable returns a table without lines around its cells.
func newTable(header ...any) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	if len(header) > 0 {
		t.AppendHeader(header)
	}
	return t
}

// rendered returns the rows of t, a line break after each.
func rendered(t table.Writer) string {
	if t.Length() == 0 {
		return ""
	}
	return t.Render() + "\n"
}

// printable returns words from outside with nothing in them that could move the
// cursor of a terminal, or hide.
func printable(words string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, words)
}

// count returns n and its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// short returns a duration as people say it: its two largest units.
func short(d time.Duration) string {
	d = d.Round(time.Second)
	day, hour := 24*time.Hour, time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(d, 0)/time.Second)
	case d < hour:
		if s := d % time.Minute / time.Second; d < 10*time.Minute && s > 0 {
			return fmt.Sprintf("%dm%ds", d/time.Minute, s)
		}
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/hour, d%hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/hour)
}

// took returns a latency; a phase that did not happen took none.
func took(seconds float64) string {
	switch {
	case seconds <= 0:
		return "–"
	case seconds < 0.001:
		return fmt.Sprintf("%.2f ms", seconds*1e3)
	case seconds < 0.01:
		return fmt.Sprintf("%.1f ms", seconds*1e3)
	case seconds < 1:
		return fmt.Sprintf("%.0f ms", seconds*1e3)
	}
	return fmt.Sprintf("%.2f s", seconds)
}

// clock returns a time of today, or with the day of any other.
func clock(t, now time.Time) string {
	if t.IsZero() {
		return "–"
	}
	t, now = t.Local(), now.Local()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// document is the parsed file. Its methods look up keys one by one, so that a wrong
// value does not hide the next; they complain about a value that they refuse, and
// return a zero value.
type document struct {
	path       string // of the configuration file
	tree       map[string]any
	lookupEnv  func(string) (string, bool)
	complaints Complaints
	sampleAt   string // the key at which the token is still the sample's
	tokenIn    tokenPlace
	secretsIn  []secretPlace
}

// setting is a string of the file.
type setting struct {
	written string // with ${NAME} unexpanded: a complaint may quote no more
	value   string // with the variables expanded
}

// bounds are the whole numbers that a key allows.
type bounds struct {
	lowest, highest int
	unit            string // of both, with a blank before it; empty for a count
}

func (b bounds) String() string { return fmt.Sprintf("%d to %d%s", b.lowest, b.highest, b.unit) }

// complain adds a line about key.
func (d *document) complain(key, format string, operands ...any) {
	d.complaints = append(d.complaints, oneLine(d.path+": "+key+": "+fmt.Sprintf(format, operands...)))
}

// checkTables complains about every table name with another type.
func (d *document) checkTables() {
	for _, name := range tables() {
		if v, found := d.tree[name]; found && !d.isTable(name) {
			d.complain(name, "%s, want one table, [%s]", kind(v), name)
		}
	}
}

func (d *document) isTable(name string) bool {
	_, ok := d.tree[name].(map[string]any)
	return ok
}

// value returns the value at key; nil if there is none.
func (d *document) value(key string) any {
	name, entry, _ := strings.Cut(key, ".")
	table, _ := d.tree[name].(map[string]any)
	return table[entry]
}

// text returns the string at key; false if there is none or it was refused.
func (d *document) text(key string) (setting, bool) {
	switch v := d.value(key).(type) {
	case nil:
		return setting{}, false
	case string:
		return d.expand(key, v)
	default:
		d.complain(key, "%s, want a string (text in double quotes)", kind(v))
		return setting{}, false
	}
}

// number returns the whole number at key, or fallback if there is none. A string with a
// variable in it is accepted: a bare ${NAME} becomes one.
func (d *document) number(key string, allowed bounds, fallback int) int {
	var number int64
	found := d.value(key)
	switch v := found.(type) {
	case nil:
		return fallback
	case int64:
		number = v
	case string:
		if !variable.MatchString(v) {
			d.complain(key, "a string, want a whole number without quotes, %v", allowed)
			return fallback
		}
		s, ok := d.expand(key, v)
		if !ok {
			return fallback
		}
		var err error
		if number, err = strconv.ParseInt(strings.TrimSpace(s.value), 10, 64); err != nil {
			d.complain(key, "%q holds no whole number, want %v", s.written, allowed)
			return fallback
		}
		found = s.written
	default:
		d.complain(key, "%s, want a whole number, %v", kind(v), allowed)
		return fallback
	}
	if number < int64(allowed.lowest) || number > int64(allowed.highest) {
		d.complain(key, "%#v is out of range, want %v", found, allowed)
		return fallback
	}
	return int(number)
}

// kind returns the type of v in the words of TOML. It never shows v, which may be a
// token without its quotes.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case []any:
		return "an array"
	case []map[string]any:
		return "an array of tables"
	default:
		return "a table"
	}
}

// decodeTOML returns the tables of data, and its keys in their order. The error starts
// with a line number if it is about one.
func decodeTOML(data []byte) (map[string]any, []toml.Key, error) {
	if !utf8.Valid(data) {
		return nil, nil, fmt.Errorf("line %d: not UTF-8, want a text file saved as UTF-8", invalidLine(data))
	}
	tree := map[string]any{}
	meta, err := toml.Decode(quoteVariables(string(data)), &tree)
	if err != nil {
		return nil, nil, syntaxError(err)
	}
	return tree, meta.Keys(), nil
}

// invalidLine returns the number of the first line of data that is not UTF-8.
func invalidLine(data []byte) int {
	line := 1
	for text := range bytes.Lines(data) {
		if !utf8.Valid(text) {
			break
		}
		line++
	}
	return line
}

var (
	// quoted matches an operand: a character, a delimiter or a word.
	quoted = regexp.MustCompile(`"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'`)
	// word matches the operands that are words.
	word = regexp.MustCompile(`\w{2}`)
	// outOfRange matches the number that does not fit.
	outOfRange = regexp.MustCompile(`^\S+ is out of`)
)

// syntaxError returns err in the words of this package. The TOML decoder quotes the
// text that it cannot parse, which may be a token without its quotes; only names of
// keys are kept.
func syntaxError(err error) error {
	parseError, ok := errors.AsType[toml.ParseError](err)
	if !ok {
		return err
	}
	problem := strings.TrimSuffix(parseError.Message, ".")
	if name, isKey := strings.CutPrefix(problem, "Key "); isKey {
		problem = "key " + name
	} else {
		problem = quoted.ReplaceAllStringFunc(problem, func(operand string) string {
			if word.MatchString(operand) {
				return "something else"
			}
			return operand
		})
		problem = outOfRange.ReplaceAllString(problem, "a number is out of")
	}
	if !strings.HasPrefix(problem, "TOML ") {
		problem = strings.ToLower(problem[:1]) + problem[1:]
	}
	return fmt.Errorf("line %d: %s, want TOML: key = value, with text in double quotes", parseError.Position.Line, problem)
}

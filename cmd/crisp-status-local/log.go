//go:build linux

package main

import (
	"bytes"
	"fmt"
	stdlog "log"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/logging"
	"github.com/crisp-im/crisp-status-local/v2/internal/redact"
)

// closeLog is how long the end of the program waits for the reader of its log.
const closeLog = time.Second

// newLog returns a log to sys.stderr: text for people or JSON for machines, and,
// where that is the journal, lines that carry their priority and leave the time
// to it. The writer behind it never waits for whoever reads; the caller closes it.
func newLog(sys system, c config.Config) (*logrus.Logger, *maskingFormatter, *logging.Writer) {
	mask := newMaskingFormatter(sys)
	mask.write(c.Format)
	log := logrus.New()
	log.SetLevel(c.Level)
	w := logging.NewWriter(sys.stderr, func(lost logging.Lost) []byte {
		e := log.WithFields(logrus.Fields{"lines": lost.Total(), "reason": lost.Reason()})
		e.Time, e.Level, e.Message = time.Now(), logrus.WarnLevel, "log lines were left out"
		line, err := mask.current().Format(e)
		if err != nil { // out of reach: the fields are a number and a text
			return nil
		}
		return line
	})
	logging.Discard(log)
	log.AddHook(logging.Hook(mask, w))
	return log, mask, w
}

// colored reports whether stderr is a terminal whose user wants colours.
func colored(sys system) bool {
	_, plain := sys.lookupEnv("NO_COLOR")
	if term, _ := sys.lookupEnv("TERM"); plain || term == "" || term == "dumb" {
		return false
	}
	f, ok := sys.stderr.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// toJournal reports whether stderr goes to systemd's journal: JOURNAL_STREAM
// names the device and the inode of the stream, since it is inherited by those
// whose stderr is another one (systemd.exec(5)).
func toJournal(sys system) bool {
	stream, _ := sys.lookupEnv("JOURNAL_STREAM")
	f, ok := sys.stderr.(*os.File)
	if stream == "" || !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// journalFormatter puts the syslog priority before every line (sd-daemon(3)).
type journalFormatter struct{ logrus.Formatter }

func (f journalFormatter) Format(e *logrus.Entry) ([]byte, error) {
	line, err := f.Formatter.Format(e)
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, "<%d>", priority(e.Level)), line...), nil
}

// jsonFormatter writes an object a line, with the fields time, level and msg.
// What is a time that something took is a number of seconds, as the name of its
// field says; what else is no number or truth is the text that it is elsewhere.
type jsonFormatter struct{ logrus.JSONFormatter }

func newJSONFormatter() *jsonFormatter {
	return &jsonFormatter{logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano, DisableHTMLEscape: true}}
}

func (f *jsonFormatter) Format(e *logrus.Entry) ([]byte, error) {
	c := *e // e is the logger's
	c.Data = make(logrus.Fields, len(e.Data))
	for name, value := range e.Data {
		switch v := value.(type) {
		case bool, int, int64, uint64, float64:
			c.Data[name] = v
		case interface{ Seconds() float64 }:
			c.Data[name+"_seconds"] = v.Seconds()
		default:
			c.Data[name] = fmt.Sprint(v)
		}
	}
	return f.JSONFormatter.Format(&c)
}

// maskingFormatter masks in every line what the daemon authenticates with to
// the Status API and to a proxy. What they say is masked where it is quoted; but
// the ids of the map are the API's words as well, and they are in most lines.
type maskingFormatter struct {
	text, json logrus.Formatter
	asJSON     atomic.Bool
	masker     atomic.Pointer[redact.Masker]
	previous   atomic.Pointer[redact.Masker]
}

// newMaskingFormatter returns a formatter of lines to sys.stderr, which writes
// text at first.
func newMaskingFormatter(sys system) *maskingFormatter {
	if !toJournal(sys) {
		return &maskingFormatter{
			text: &logrus.TextFormatter{FullTimestamp: true, ForceColors: colored(sys)},
			json: newJSONFormatter(),
		}
	}
	return &maskingFormatter{
		text: journalFormatter{&logrus.TextFormatter{DisableTimestamp: true, DisableColors: true}},
		json: journalFormatter{newJSONFormatter()},
	}
}

// write makes format that of the lines to come.
func (f *maskingFormatter) write(format config.LogFormat) { f.asJSON.Store(format == config.JSON) }

// current returns the formatter in force.
func (f *maskingFormatter) current() logrus.Formatter {
	if f.asJSON.Load() {
		return f.json
	}
	return f.text
}

// use masks by m too; the requests under way may still have the last secrets.
func (f *maskingFormatter) use(m *redact.Masker) {
	f.previous.Store(f.masker.Swap(m))
}

func (f *maskingFormatter) Format(e *logrus.Entry) ([]byte, error) {
	line, err := f.current().Format(e)
	if err != nil {
		return nil, err
	}
	text := f.masker.Load().Mask(string(bytes.TrimSuffix(line, []byte("\n"))))
	return append([]byte(f.previous.Load().Mask(text)), '\n'), nil
}

// standardLog takes what the standard library logs by itself. Package net/http
// repeats what a server sends unasked, which may be the token.
type standardLog struct {
	log  *logrus.Logger
	mask *maskingFormatter
}

// redirectStandardLog makes the standard library log to log, at debug.
func redirectStandardLog(log *logrus.Logger, mask *maskingFormatter) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(standardLog{log, mask})
}

func (l standardLog) Write(line []byte) (int, error) {
	if l.log.IsLevelEnabled(logrus.DebugLevel) {
		text := l.mask.masker.Load().Quote(string(bytes.TrimSpace(line)))
		l.log.WithField("text", text).Debug("the standard library logs")
	}
	return len(line), nil
}

// notice is the syslog severity of what is in order and yet worth reading.
const notice = 5

// priority is the syslog severity of a level (RFC 5424, 6.2.1).
func priority(level logrus.Level) int {
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel:
		return 2 // critical
	case logrus.ErrorLevel:
		return 3
	case logrus.WarnLevel:
		return 4
	case logrus.InfoLevel:
		return 6
	}
	return 7
}

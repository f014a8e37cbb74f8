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

	"github.com/crisp-im/crisp-status-local/v2/internal/logging"
	"github.com/crisp-im/crisp-status-local/v2/internal/redact"
)

// closeLog is how long the end of the program waits for the reader of its log.
const closeLog = time.Second

// newLog returns a log to sys.stderr: text for people, or, where that is the
// journal, lines that carry their priority and leave the time to it. The writer
// behind it never waits for whoever reads; the caller closes it.
func newLog(sys system, level logrus.Level) (*logrus.Logger, *maskingFormatter, *logging.Writer) {
	var form logrus.Formatter = &logrus.TextFormatter{FullTimestamp: true, ForceColors: colored(sys)}
	if toJournal(sys) {
		form = &journalFormatter{logrus.TextFormatter{DisableTimestamp: true, DisableColors: true}}
	}
	mask := &maskingFormatter{Formatter: form}
	log := logrus.New()
	log.SetLevel(level)
	w := logging.NewWriter(sys.stderr, func(lost logging.Lost) []byte {
		e := log.WithFields(logrus.Fields{"lines": lost.Total(), "reason": lost.Reason()})
		e.Time, e.Level, e.Message = time.Now(), logrus.WarnLevel, "log lines were left out"
		line, err := form.Format(e)
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
type journalFormatter struct{ logrus.TextFormatter }

func (f *journalFormatter) Format(e *logrus.Entry) ([]byte, error) {
	line, err := f.TextFormatter.Format(e)
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, "<%d>", priority(e.Level)), line...), nil
}

// maskingFormatter masks in every line what the daemon authenticates with to
// the Status API and to a proxy. What they say is masked where it is quoted; but
// the ids of the map are the API's words as well, and they are in most lines.
type maskingFormatter struct {
	logrus.Formatter
	current, previous atomic.Pointer[redact.Masker]
}

// use masks by m too; the requests under way may still have the last secrets.
func (f *maskingFormatter) use(m *redact.Masker) {
	f.previous.Store(f.current.Swap(m))
}

func (f *maskingFormatter) Format(e *logrus.Entry) ([]byte, error) {
	line, err := f.Formatter.Format(e)
	if err != nil {
		return nil, err
	}
	text := f.current.Load().Mask(string(bytes.TrimSuffix(line, []byte("\n"))))
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
		text := l.mask.current.Load().Quote(string(bytes.TrimSpace(line)))
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

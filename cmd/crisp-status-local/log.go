package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/sirupsen/logrus"
)

// newLog returns a log to sys.stderr: text for people, or, where that is the
// journal, lines that carry their priority and leave the time to it.
func newLog(sys system, level logrus.Level) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(sys.stderr)
	log.SetLevel(level)
	if toJournal(sys) {
		log.SetFormatter(&journalFormatter{logrus.TextFormatter{DisableTimestamp: true, DisableColors: true}})
	} else {
		log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true})
	}
	return log
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

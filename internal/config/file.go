package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

var (
	errDirectory = errors.New("is a directory")
	errTooLarge  = errors.New("too large")
	errPipe      = errors.New("is a pipe that was not written and closed in time")
)

// pipeTimeout is how long a pipe is waited for: a shell that makes one writes to
// it at once, and a reload that waits holds up the daemon's end.
const pipeTimeout = 5 * time.Second

// readPipe returns what is written to a pipe, limit bytes at most. Until somebody
// has opened it to write, it looks as if it had ended.
func readPipe(pipe *os.File, limit int64) ([]byte, error) {
	deadline := time.Now().Add(pipeTimeout)
	if err := pipe.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	for {
		data, err := io.ReadAll(io.LimitReader(pipe, limit))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), err == nil && len(data) == 0 && time.Now().After(deadline):
			return nil, errPipe
		case err != nil || len(data) > 0:
			return data, err
		}
		<-time.After(10 * time.Millisecond)
	}
}

// readFile returns the content of the file at path. It reads no more than
// limit bytes; a larger file is errTooLarge, a directory errDirectory. The
// errors do not hold the path, which may itself have come from a variable.
func readFile(path string, limit int64) ([]byte, error) {
	// Without O_NONBLOCK a pipe that nobody writes to would never be opened.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		return nil, errDirectory
	}
	var data []byte
	if err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		data, err = readPipe(file, limit+1)
	} else {
		data, err = io.ReadAll(io.LimitReader(file, limit+1))
	}
	if err != nil {
		return nil, withoutPath(err)
	}
	if int64(len(data)) > limit {
		return nil, errTooLarge
	}
	return data, nil
}

// withoutPath returns the cause of a file operation's error.
func withoutPath(err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err
	}
	return err
}

// configFileError adds the remedy to err, an error of reading the configuration file
// itself.
func configFileError(err error) error {
	switch {
	case errors.Is(err, errDirectory):
		return fmt.Errorf("%w, want a file (Docker makes a directory where the path to mount is relative or does not exist: mount the absolute path of a file)", err)
	case errors.Is(err, errTooLarge):
		return fmt.Errorf("%w, want at most %d bytes", err, maxFileSize)
	default:
		return fmt.Errorf("%w, want a file that %s can read (name another with -c FILE)", err, user(err))
	}
}

// user returns the words for the user that cannot read a file; with its ids if the
// permission is missing, since a container may have no name for it.
func user(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("this user (uid %d, gid %d)", os.Geteuid(), os.Getegid())
	}
	return "this user"
}

// resolve returns path as it is from the folder of the configuration file.
func (d *document) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(d.path), path)
}

// file returns the content of the file that s, the value of key, names; false if it
// complained. Complaints name the file as shown.
func (d *document) file(key string, s setting, shown string, limit int64) ([]byte, bool) {
	if s.value == "" {
		d.complain(key, "empty, want the path of a file")
		return nil, false
	}
	data, err := readFile(d.resolve(s.value), limit)
	switch {
	case errors.Is(err, errTooLarge):
		d.complain(key, "%s: %v, want at most %d bytes", shown, err, limit)
	case err != nil:
		d.complain(key, "%s: %v, want a file that %s can read (a relative path starts at the folder of the configuration file)", shown, err, user(err))
	}
	return data, err == nil
}

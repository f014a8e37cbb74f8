package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

var (
	errDirectory = errors.New("is a directory")
	errTooLarge  = errors.New("too large")
)

// readFile returns the content of the file at path. It reads no more than
// limit bytes; a larger file is errTooLarge, a directory errDirectory. The
// errors do not hold the path, which may itself have come from a variable.
func readFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, errDirectory
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
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

// file returns the content of the file that s, the value of key, names; false if it
// complained. Complaints name the file as shown.
func (d *document) file(key string, s setting, shown string, limit int64) ([]byte, bool) {
	path := s.value
	if path == "" {
		d.complain(key, "empty, want the path of a file")
		return nil, false
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(d.path), path)
	}
	data, err := readFile(path, limit)
	switch {
	case errors.Is(err, errTooLarge):
		d.complain(key, "%s: %v, want at most %d bytes", shown, err, limit)
	case err != nil:
		d.complain(key, "%s: %v, want a file that %s can read (a relative path starts at the folder of the configuration file)", shown, err, user(err))
	}
	return data, err == nil
}

//go:build !linux

package sandbox

import "errors"

func bindToLoopback(uintptr) error { return errors.ErrUnsupported }

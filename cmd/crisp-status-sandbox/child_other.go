//go:build !linux

package main

import "syscall"

// maxrssUnit is what ru_maxrss counts in: bytes, on macOS.
const maxrssUnit = 1

func dieWithParent(*syscall.SysProcAttr) {}

func readProcess(int) (reading, bool) { return reading{}, false }

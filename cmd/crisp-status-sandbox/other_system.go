//go:build !linux

package main

// Other systems lack what the targets of the sandbox are made of; the compiler says
// so, and names nothing else.
const _ int = "crisp-status-sandbox is for Linux only"

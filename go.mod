module github.com/crisp-im/crisp-status-local/v2

go 1.26.0

require (
	github.com/BurntSushi/toml v1.6.0 // the format of the configuration file
	github.com/coreos/go-systemd/v22 v22.7.0 // daemon: telling systemd that the service is ready, or ends
	github.com/hashicorp/go-retryablehttp v0.7.8 // requests to the Status API, and when to repeat them
	github.com/jedib0t/go-pretty/v6 v6.8.3 // tables and the progress bar of the commands, by the width that characters have on a terminal
	github.com/nlnwa/whatwg-url v0.6.2 // URLs as the WHATWG standard, browsers and curl understand them
	github.com/prometheus/client_golang v1.25.0 // the metrics: its output is what promtool accepts
	github.com/prometheus/common v0.72.0 // the metrics as text: client_golang's own handler adds the binary formats, 0.34 MB
	github.com/sirupsen/logrus v1.10.2 // the log
	github.com/spf13/cobra v1.10.2 // the commands, and their completions for three shells
	github.com/spf13/pflag v1.1.0 // the command line as the original has it: -cFILE, which package flag cannot read
	golang.org/x/crypto/x509roots/fallback v0.0.0-20261030153154-30a33513ff6d // the public certificate authorities, for a host without any
	golang.org/x/net v0.62.0 // idna: host names outside ASCII, as browsers look them up; httpproxy: which requests the environment leads through a proxy; dnsmessage: what nameservers are asked and answer
	golang.org/x/sys v0.49.0 // unix: half-open connections and ICMP sockets, which package net cannot make
	golang.org/x/term v0.47.0 // whether somebody looks at the output, and how wide it is
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/bits-and-blooms/bitset v1.20.0 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/kylelemons/godebug v1.1.0 // indirect
	github.com/mattn/go-runewidth v0.0.16 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

package main

import (
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
)

// notifyStore returns a function that reports an attempt to open the store to systemd.
// The daemon is ready after the first attempt, even if it fails: containerd waits for
// the daemon, and learns the reason from the answer to a call.
func notifyStore(log *logrus.Logger) func(error) {
	return func(err error) { notifySystemd(log, storeState(err)) }
}

// storeState is the notification of an attempt that ended with err.
func storeState(err error) string {
	text := "serving"
	if err != nil {
		text = "cannot open the store: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return daemon.SdNotifyReady + "\nSTATUS=" + text
}

// notifySystemd sends a state to systemd. Without systemd it does nothing.
func notifySystemd(log *logrus.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.WithError(err).Warn("cannot notify systemd")
	}
}

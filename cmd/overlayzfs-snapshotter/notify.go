package main

import (
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
)

const stopping = daemon.SdNotifyStopping

// notify returns what tells systemd of the store. The daemon is ready once the
// first attempt to open it has ended, whichever way: containerd, which waits for
// it, is to learn from a call's answer what is wrong.
func notify(log *logrus.Logger) func(error) {
	return func(err error) { tell(log, state(err)) }
}

func state(err error) string {
	text := "serving"
	if err != nil {
		text = "cannot open the store: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return daemon.SdNotifyReady + "\nSTATUS=" + text
}

// tell is for systemd only; where there is none nothing is lost.
func tell(log *logrus.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.WithError(err).Warn("systemd was not told")
	}
}

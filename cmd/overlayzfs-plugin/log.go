package main

import (
	"io"

	"github.com/sirupsen/logrus"
)

// setUpLog configures the standard logger, which all packages use. Lines have no time,
// because the engine's log and the journal add it.
func setUpLog(level logrus.Level, w io.Writer) *logrus.Logger {
	log := logrus.StandardLogger()
	log.SetOutput(w)
	log.SetLevel(level)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, DisableTimestamp: true})
	return log
}

package main

import (
	"io"

	"github.com/sirupsen/logrus"
)

// setUpLog makes the process's one logger, which the packages below use too.
// Lines carry no time: the engine's log and the journal stamp them.
func setUpLog(level logrus.Level, w io.Writer) *logrus.Logger {
	log := logrus.StandardLogger()
	log.SetOutput(w)
	log.SetLevel(level)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, DisableTimestamp: true})
	return log
}

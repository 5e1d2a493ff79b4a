#!/usr/bin/env bash
# A program in place of a worker: it closes its end of the channel, whose number is its third argument, and stays.
eval "exec $3>&-"
exec sleep 1000

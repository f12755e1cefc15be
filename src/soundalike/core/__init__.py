"""What everything uses: errors, counted random numbers, files, compilation, devices."""

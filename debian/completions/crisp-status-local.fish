complete -c crisp-status-local -f
complete -c crisp-status-local -s c -l config -r -F -d 'The configuration file'
complete -c crisp-status-local -l configured -d 'Exit with 1 as long as the token is the sample, else with 0'
complete -c crisp-status-local -l healthcheck -d 'Ask the daemon that runs with this file whether it is alive'
complete -c crisp-status-local -s V -l version -d 'Print the version and exit'
complete -c crisp-status-local -s h -l help -d 'Print the usage and exit'
